"""Bank connections whose consent ends, and their review."""
