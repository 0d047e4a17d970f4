"""PostgreSQL: the schema, the statements, the repositories that give them meaning, and the unit of work."""
