"""Checks of a connection's data: what it loaded, against its tables."""
