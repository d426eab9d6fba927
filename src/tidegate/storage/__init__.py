"""PostgreSQL: the only truth (DESIGN 3). SQL lies in sql/, the whole schema in schema.sql, its history in migrations."""
