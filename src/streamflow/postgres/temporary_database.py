"""A database for content that nobody has checked yet, and a role that may use nothing else.

A database's dump is a program: whoever runs it gives it the rights of the user. This one has none
outside its database: no other database, no file of the server, no program, no other role.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg import sql
from psycopg.conninfo import make_conninfo

from streamflow.errors import DatabaseUnavailable, NotPermitted
from streamflow.postgres.database import Database

PREFIX = "streamflow_restore_"


@contextmanager
def temporary_database(database: Database) -> Iterator[Database]:
    """A new, empty database on the same server, as its role sees it; removed after the block.

    Those of killed processes are removed first. Raises NotPermitted if the user of `database` may
    not create roles and databases, DatabaseUnavailable.
    """
    _remove_abandoned(database)
    name, password = PREFIX + secrets.token_hex(6), secrets.token_urlsafe(24)
    names = {"name": sql.Identifier(name)}
    try:
        hashed = sql.Literal(database.password_hash(name, password))
        database.execute("create_temporary_role", {**names, "password": hashed})
        database.execute("create_temporary_database", names)
        database.execute("close_database", names)
        database.execute("open_temporary_database", names)
        with Database(make_conninfo(database.url, dbname=name)) as owned:
            # A dump of this schema creates it, and only its owner could drop it.
            owned.execute("drop_schema", {"schema": sql.Identifier("public")})
        url = make_conninfo(database.url, dbname=name, user=name, password=password)
        with Database(url) as temporary:
            yield temporary
    finally:
        _remove(database, name)


def _remove_abandoned(database: Database) -> None:
    for row in database.rows("abandoned_temporary_databases", prefix=PREFIX):
        _remove(database, row["name"])


def _remove(database: Database, name: str) -> None:
    # What is left by an error here is removed by the next restore.
    for statement in ("drop_temporary_database", "drop_temporary_role"):
        with suppress(DatabaseUnavailable, NotPermitted):
            database.execute(statement, {"name": sql.Identifier(name)})
