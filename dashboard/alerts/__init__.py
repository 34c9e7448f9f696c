"""Alert rules and the messages that they send."""
