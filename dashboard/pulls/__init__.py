"""Copies of customers' tables, kept up to date in a database or folder of the partner."""
