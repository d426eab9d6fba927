"""Looks at what Tidegate runs on and says what is wrong or slow, and what to do about it."""
