"""Rules that find what is wrong with a connection. Pure functions of its facts."""
