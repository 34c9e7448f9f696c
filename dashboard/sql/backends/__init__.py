"""Where SQL is run: at Peliqan, or at a PostgreSQL database."""
