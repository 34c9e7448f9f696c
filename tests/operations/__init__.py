"""Tests of operation: poolers, servers that restart, Ctrl-C, a restore while a console runs."""
