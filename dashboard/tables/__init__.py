"""Tables of a connection: their rows, cells, health and search."""
