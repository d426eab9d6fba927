"""The worker on a real PostgreSQL."""
