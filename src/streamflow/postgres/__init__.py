"""The database: connections, migrations, roles, PostgreSQL's own programs, the embedded server."""
