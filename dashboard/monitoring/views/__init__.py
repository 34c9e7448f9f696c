"""Health probes and the metrics endpoint."""
