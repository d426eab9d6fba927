"""Logins in a second, divided by what the cores could hash if a login cost nothing else."""
