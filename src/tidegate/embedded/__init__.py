"""Runs the servers that Tidegate needs, from wheels, for one machine and for tests; production names its own servers."""
