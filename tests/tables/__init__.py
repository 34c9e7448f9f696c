"""Tables: what is asked of them, read whole, and what may be shown."""
