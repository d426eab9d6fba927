"""Remembers profiles: most of GET /me asks nobody, and shows what PATCH /me changed at once all the same (ADR 0016)."""
