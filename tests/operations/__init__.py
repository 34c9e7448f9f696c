"""What an operator meets: poolers, servers that go away and come back, Ctrl-C, a restore under a console that runs."""
