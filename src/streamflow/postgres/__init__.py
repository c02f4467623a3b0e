"""PostgreSQL: connections, named queries, migrations, roles, the embedded server.

May import: top modules.
"""

__all__ = [
    "client_programs",
    "database",
    "database_url",
    "embedded_server",
    "migrations",
    "queries",
    "roles",
]
