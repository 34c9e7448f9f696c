"""Pages of causes and findings."""
