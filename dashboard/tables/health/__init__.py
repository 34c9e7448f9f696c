"""Freshness and row counts of monitored tables."""
