"""Tests of data after processes were killed in the middle of their work."""
