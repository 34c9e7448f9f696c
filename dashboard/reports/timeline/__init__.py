"""What happened to a connection or an account, in one list."""
