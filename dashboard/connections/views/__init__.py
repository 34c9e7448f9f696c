"""Pages of connections and accounts."""
