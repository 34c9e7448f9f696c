"""Health probes, metrics and the service status."""
