"""Usernames, emails and phone numbers."""
