"""The worker and what it does, without a database."""
