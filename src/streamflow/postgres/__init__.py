"""PostgreSQL: connections, named queries, migrations, roles, the embedded server.

May import: top modules.
"""

__all__ = [
    "client_programs",
    "database",
    "database_url",
    "driver_errors",
    "embedded_server",
    "migrations",
    "plain_tables",
    "queries",
    "record_batches",
    "roles",
    "temporary_database",
]
