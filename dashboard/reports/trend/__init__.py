"""The fleet's health over days."""
