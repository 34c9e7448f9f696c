"""Tables: their queries, complete reads, checks and searches."""
