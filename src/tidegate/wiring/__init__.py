"""Turns settings into live objects; knows every implementation, and is known to the command line only."""
