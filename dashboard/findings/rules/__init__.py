"""The rules: facts of a connection in, findings out. Pure functions."""
