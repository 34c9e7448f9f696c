"""Sign-in, own settings, and the administration of people."""
