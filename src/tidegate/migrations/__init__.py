"""The history of the schema, in plain SQL, up and down. storage/schema.sql shows what it all comes to."""
