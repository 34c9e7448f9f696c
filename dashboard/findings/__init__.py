"""Findings of connections, and the causes that group them."""
