"""One action for many connections."""
