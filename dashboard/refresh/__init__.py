"""The fleet refresh: reads accounts and connections at Peliqan and writes what changed."""
