"""The diagnosis of a real PostgreSQL."""
