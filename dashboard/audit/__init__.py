"""The audit log: which user did what, when, with which result."""
