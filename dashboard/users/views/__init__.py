"""Pages of sign-in, the user's own settings, and the administration of users."""
