"""Columns that are masked, and who revealed them."""
