"""The pipeline's PostgreSQL: one connection pool, named queries from `sql/`, COPY in.

All sessions are in UTC. A transaction is a `with database.transaction():` block; outside of one,
each statement is its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from streamflow.errors import DatabaseUnavailable, NotPermitted

Row = dict[str, Any]
Identifiers = Mapping[str, sql.Composable]

OLDEST_MAJOR_VERSION = 15


@cache
def named_queries() -> dict[str, str]:
    """Every statement of `sql/queries.sql`, by the name in the `-- name:` line above it."""
    text = (resources.files("streamflow") / "sql" / "queries.sql").read_text()
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def columns(names: list[str], prefix: str | None = None) -> sql.Composed:
    """The names as a comma-separated list of quoted identifiers, for a query's placeholder."""
    return sql.SQL(", ").join(
        sql.Identifier(prefix, name) if prefix else sql.Identifier(name) for name in names
    )


class Database:
    """One connection to PostgreSQL, opened on first use and opened again after it was lost."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: psycopg.Connection[Row] | None = None

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    @property
    def connection(self) -> psycopg.Connection[Row]:
        """Raises DatabaseUnavailable if the server can't be reached or is too old."""
        if self._connection is None or self._connection.closed:
            try:
                connection = psycopg.connect(
                    self.url,
                    autocommit=True,
                    row_factory=dict_row,
                    connect_timeout=10,
                    options="-c timezone=UTC",
                    application_name="streamflow",
                )
            except psycopg.OperationalError as error:
                raise DatabaseUnavailable(
                    f"PostgreSQL at {_without_password(self.url)} doesn't answer: "
                    f"{str(error).strip()}",
                    "Start it, or correct STREAMFLOW_DATABASE_URL.",
                ) from error
            major_version = connection.info.server_version // 10000
            if major_version < OLDEST_MAJOR_VERSION:
                connection.close()
                raise DatabaseUnavailable(
                    f"PostgreSQL {major_version} is too old.",
                    f"Use version {OLDEST_MAJOR_VERSION} or newer, or leave "
                    "STREAMFLOW_DATABASE_URL unset for the embedded one.",
                )
            self._connection = connection
        return self._connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises DatabaseUnavailable if the server goes away meanwhile."""
        try:
            with self.connection.transaction():
                yield
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(
                f"PostgreSQL went away: {str(error).strip()}. Nothing was changed.",
                "Start it again and run the same command.",
            ) from error

    def execute(
        self, name: str, identifiers: Identifiers | None = None, /, **values: Any
    ) -> psycopg.Cursor[Row]:
        """Run the named query, with identifiers for its `{…}` and values for its `%(…)s`."""
        query = sql.SQL(named_queries()[name])
        with _permitted(self.connection):
            return self.connection.execute(query.format(**(identifiers or {})), values or None)

    def rows(
        self, name: str, identifiers: Identifiers | None = None, /, **values: Any
    ) -> list[Row]:
        return self.execute(name, identifiers, **values).fetchall()

    def row(self, name: str, identifiers: Identifiers | None = None, /, **values: Any) -> Row:
        """The query's only row."""
        (row,) = self.rows(name, identifiers, **values)
        return row

    def copy(self, name: str, content: bytes) -> None:
        """COPY the content in by the named query. Raises ValueError if it can't be read as rows."""
        try:
            with (
                self.connection.cursor() as cursor,
                cursor.copy(sql.SQL(named_queries()[name])) as copy,
            ):
                copy.write(content)
        except psycopg.DataError as error:
            raise ValueError(f"{name}: {type(error).__name__}") from error

    def render(self, name: str, identifiers: Identifiers | None = None, /, **values: Any) -> str:
        """The named query as text with its values in it, quoted, for those who take only text."""
        query = sql.SQL(named_queries()[name])
        composed = query.format(**(identifiers or {}))
        return psycopg.ClientCursor(self.connection).mogrify(composed, values)

    def script(self, text: str, identifiers: Identifiers | None = None, /) -> None:
        """Run statements that give nothing back, with identifiers for their `{…}` if given."""
        with _permitted(self.connection):
            if identifiers is None:
                self.connection.execute(text.encode())
            else:
                self.connection.execute(sql.SQL(text).format(**identifiers))

    def password_hash(self, user: str, password: str) -> str:
        """What the server keeps of a password, so that the password itself stays here."""
        pgconn = self.connection.pgconn
        hashed = pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256")
        return hashed.decode()


@contextmanager
def _permitted(connection: psycopg.Connection[Row]) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotPermitted(
            f"The database's user {connection.info.user!r} may not do this: "
            f"{error.diag.message_primary}.",
            "Connect as a user that may: STREAMFLOW_DATABASE_URL. docs/operations.md says who may.",
        ) from error


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)
