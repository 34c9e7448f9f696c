"""Timeline of a connection or an account."""
