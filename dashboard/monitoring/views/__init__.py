"""Pages for probes, metrics and service status."""
