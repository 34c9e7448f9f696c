"""The editor and saved queries."""
