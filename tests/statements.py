"""SQL that only tests run."""

from __future__ import annotations

from typing import Any

import psycopg

from streamflow.postgres.database import Database


def execute(
    database: Database, statement: Any, values: Any = None
) -> psycopg.Cursor[dict[str, Any]]:
    """Run the statement, on a connection of the database's pool; its rows can be read later."""
    with database.connection() as connection:
        return connection.execute(statement, values)
