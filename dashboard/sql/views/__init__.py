"""Pages of the SQL editor and of saved queries."""
