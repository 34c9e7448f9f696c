"""The search for a value over all tables of an account."""
