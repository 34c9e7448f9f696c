"""Files of lists and tables."""
