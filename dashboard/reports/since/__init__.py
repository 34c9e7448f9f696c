"""Changes since a time, as a page and as files."""
