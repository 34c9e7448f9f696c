"""Backends that run SQL: Peliqan's API, or a direct connection to PostgreSQL."""
