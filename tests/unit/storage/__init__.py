"""How SQL is read and what becomes of errors."""
