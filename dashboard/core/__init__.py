"""Foundations of all features: database, times, texts, encryption, row-level access."""
