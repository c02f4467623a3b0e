"""The pipeline's PostgreSQL: one connection pool, named queries from `sql/`, COPY in.

All sessions are in UTC. A transaction is a `with database.transaction():` block; outside of one,
each statement is its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql
from psycopg.abc import RV, PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from streamflow.errors import DatabaseUnavailable, NotPermitted

Row = dict[str, Any]
Identifiers = Mapping[str, sql.Composable]

OLDEST_MAJOR_VERSION = 15
CONNECT_SECONDS = 10


@cache
def named_queries() -> dict[str, str]:
    """Every statement of `sql/queries.sql`, by the name in the `-- name:` line above it."""
    text = (resources.files("streamflow.postgres") / "sql" / "queries.sql").read_text()
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def columns(names: list[str], prefix: str | None = None) -> sql.Composed:
    """The names as a comma-separated list of quoted identifiers, for a query's placeholder."""
    return sql.SQL(", ").join(
        sql.Identifier(prefix, name) if prefix else sql.Identifier(name) for name in names
    )


def for_programs(url: str) -> tuple[str, dict[str, str]]:
    """How PostgreSQL's own programs connect: an argument, and what their environment has to hold.

    The password is in the environment, because anybody may see arguments.
    """
    parts = conninfo_to_dict(url)
    password = parts.pop("password", None)
    return make_conninfo("", **parts), {"PGPASSWORD": str(password)} if password else {}


class _Connection(psycopg.Connection[Row]):
    """With `patience_seconds`, it's given up when the server owes it an answer for longer."""

    patience_seconds: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, timeout or self.patience_seconds)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


class Database:
    """One connection to PostgreSQL, opened on first use and opened again after it was lost.

    A command waits for as long as the server works on it. A server of our own has better things to
    do than to wait for one that hangs: with `patience_seconds` that is a DatabaseUnavailable too.
    """

    def __init__(self, url: str, patience_seconds: float | None = None) -> None:
        self.url = url
        self._patience_seconds = patience_seconds
        self._connection: _Connection | None = None

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    @property
    def connection(self) -> _Connection:
        """Raises DatabaseUnavailable if the server can't be reached or is too old."""
        if self._connection is None or self._connection.closed:
            try:
                connection = _Connection.connect(
                    self.url,
                    autocommit=True,
                    row_factory=dict_row,
                    connect_timeout=math.ceil(self._patience_seconds or CONNECT_SECONDS),
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
            connection.patience_seconds = self._patience_seconds
            self._connection = connection
        return self._connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises DatabaseUnavailable if the server goes away meanwhile."""
        with _answering(self.connection), self.connection.transaction():
            yield

    def execute(
        self, name: str, identifiers: Identifiers | None = None, /, **values: Any
    ) -> psycopg.Cursor[Row]:
        """Run the named query, with identifiers for its `{…}` and values for its `%(…)s`."""
        query = sql.SQL(named_queries()[name])
        with _answering(self.connection):
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
        with _answering(self.connection):
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
def _answering(connection: psycopg.Connection[Row]) -> Iterator[None]:
    try:
        yield
    except psycopg.OperationalError as error:
        raise went_away(error) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotPermitted(
            f"The database's user {connection.info.user!r} may not do this: "
            f"{error.diag.message_primary}.",
            "Connect as a user that may: STREAMFLOW_DATABASE_URL. docs/operations.md says who may.",
        ) from error


def went_away(error: BaseException) -> DatabaseUnavailable:
    """What to tell of an error of PostgreSQL's driver that ended what was under way."""
    told = str(error).strip().partition("\n")[0].rstrip(".")
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state is None or state.startswith(("08", "57P")):
        return DatabaseUnavailable(
            f"PostgreSQL went away: {told}.", "Start it again and run the same command."
        )
    return DatabaseUnavailable(
        f"PostgreSQL can't do what was asked: {told}.",
        "Look into its log, then run the same command again.",
    )


def lost(error: BaseException | None) -> BaseException | None:
    """The error of PostgreSQL's driver, ours or MLflow's, at the bottom of `error`; else None."""
    found = None
    while error is not None:
        kinds = [(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__]
        if {("psycopg", "OperationalError"), ("psycopg2", "OperationalError")} & {*kinds}:
            found = error
        error = error.__cause__ or error.__context__
    return found


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)
