"""Access tokens, refresh tokens, the keys that sign them and the ids they carry."""
