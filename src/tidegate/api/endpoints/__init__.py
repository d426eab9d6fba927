"""One file a path: a request becomes a call, and what the use case says becomes an answer. No rule lives here."""
