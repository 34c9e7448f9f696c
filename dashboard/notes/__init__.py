"""Notes and assignees of accounts, connections and causes."""
