"""Pages and files that summarise the fleet."""
