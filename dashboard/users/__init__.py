"""Users: roles, sign-in, sessions, second factors, access rules and quotas."""
