"""Where copies are written: PostgreSQL, SQLite, folders of Parquet files."""
