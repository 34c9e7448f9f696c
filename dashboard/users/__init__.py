"""People who sign in, their roles, sessions, second factors and limits."""
