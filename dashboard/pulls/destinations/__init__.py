"""Destinations of copies: PostgreSQL, SQLite, folders of Parquet files."""
