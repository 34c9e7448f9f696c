"""New connections, delivered to the partner's own data hook."""
