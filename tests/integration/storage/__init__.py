"""The storage on a real PostgreSQL."""
