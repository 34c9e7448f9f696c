"""The fleet refresh: reads accounts and connections from Peliqan and writes what changed."""
