"""The overview page and the search over the fleet."""
