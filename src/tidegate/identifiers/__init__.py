"""Brings usernames, emails and phone numbers into the one form that is stored and looked up."""
