"""The pages that put together everything about a connection or an account."""
