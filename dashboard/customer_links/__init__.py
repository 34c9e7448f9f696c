"""Links that customers follow to authorise, and the messages that carry them."""
