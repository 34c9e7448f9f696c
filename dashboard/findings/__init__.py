"""What is wrong with a connection, and which connections share one cause."""
