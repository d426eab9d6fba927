"""Reads files of users, whole and in pieces, and checks the pieces in several processes at once."""
