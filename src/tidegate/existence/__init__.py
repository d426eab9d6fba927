"""Knows which login identifiers are free, in memory that the processes of a node share (DESIGN 5.2, ADR 0014)."""
