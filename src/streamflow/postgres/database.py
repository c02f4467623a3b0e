"""The pipeline's PostgreSQL: one connection pool, named queries from `sql/`, COPY in.

All sessions are in UTC. A transaction is a `with database.transaction():` block; outside of one,
each statement is its own.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from streamflow.errors import DatabaseUnavailable, NotPermitted
from streamflow.postgres.queries import named_queries

Row = dict[str, Any]
Identifiers = Mapping[str, sql.Composable]

OLDEST_MAJOR_VERSION = 15
CONNECT_SECONDS = 10
# Of one process. A server of our own has few threads that need one at the same time.
MAX_CONNECTIONS = 4


class _Connection(psycopg.Connection[Row]):
    """With `patience_seconds`, it is closed when the server takes longer than that to respond."""

    patience_seconds: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, timeout or self.patience_seconds)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


class Database:
    """A pool of connections to PostgreSQL, which any thread may use at any time.

    A connection is opened when it is first needed, and replaced after it was lost. Outside of
    `transaction` each statement is a transaction of its own. A command waits for as long as the
    server works on it; a server must not wait for one that hangs: with `patience_seconds` that is
    a DatabaseUnavailable too.
    """

    def __init__(self, url: str, patience_seconds: float | None = None) -> None:
        self.url = url
        self._patience_seconds = patience_seconds
        self._pool: ConnectionPool[_Connection] | None = None
        self._opening = threading.Lock()
        self._thread = threading.local()  # the connection of this thread's transaction

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the next statement opens one again."""
        pool = self._pool
        if pool is not None:
            self._discard(pool)

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Row]]:
        """The connection of this thread's transaction; without one, a connection for the block.

        Raises DatabaseUnavailable if the server can't be reached or is too old, or goes away in
        the block.
        """
        own: _Connection | None = getattr(self._thread, "connection", None)
        if own is not None:
            with _errors_named(own):
                yield own
            return
        pool = self._ready_pool()
        try:
            connection = pool.getconn()
        except (PoolTimeout, PoolClosed) as error:
            raise DatabaseUnavailable(
                f"PostgreSQL doesn't answer: {error}.", "Try again in a moment."
            ) from error
        try:
            with _errors_named(connection):
                yield connection
        finally:
            if connection.closed:
                # The others are lost as well, as a rule. A pool would tell each caller in turn, and
                # go on connecting in the background.
                self._discard(pool)
            pool.putconn(connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: this thread's statements in the block are one transaction.

        Within another transaction it is a part that can be undone alone. Raises
        DatabaseUnavailable if the server goes away in the block.
        """
        with self.connection() as connection, connection.transaction():
            outer = getattr(self._thread, "connection", None)
            self._thread.connection = connection
            try:
                yield
            finally:
                self._thread.connection = outer

    def execute(
        self, name: str, identifiers: Identifiers | None = None, /, **values: Any
    ) -> psycopg.Cursor[Row]:
        """Run the named query, with identifiers for its `{…}` and values for its `%(…)s`."""
        query = sql.SQL(named_queries()[name])
        with self.connection() as connection:
            return connection.execute(query.format(**(identifiers or {})), values or None)

    def rows(
        self, name: str, identifiers: Identifiers | None = None, /, **values: Any
    ) -> list[Row]:
        """All rows of the named query."""
        return self.execute(name, identifiers, **values).fetchall()

    def row(self, name: str, identifiers: Identifiers | None = None, /, **values: Any) -> Row:
        """The named query's only row. Raises ValueError if it has another number of rows."""
        (row,) = self.rows(name, identifiers, **values)
        return row

    def copy(self, name: str, content: bytes) -> None:
        """COPY the content in by the named query. Raises ValueError if it isn't what COPY reads."""
        query = sql.SQL(named_queries()[name])
        try:
            with (
                self.connection() as connection,
                connection.cursor() as cursor,
                cursor.copy(query) as copy,
            ):
                copy.write(content)
        except psycopg.DataError as error:
            raise ValueError(f"{name}: {type(error).__name__}") from error

    def render(self, name: str, identifiers: Identifiers | None = None, /, **values: Any) -> str:
        """The named query as text with its values in it, for programs that take only text."""
        composed = sql.SQL(named_queries()[name]).format(**(identifiers or {}))
        with self.connection() as connection:
            return psycopg.ClientCursor(connection).mogrify(composed, values)

    def script(self, text: str, identifiers: Identifiers | None = None, /) -> None:
        """Run statements that return nothing, with identifiers for their `{…}` if given."""
        with self.connection() as connection:
            if identifiers is None:
                connection.execute(text.encode())
            else:
                connection.execute(sql.SQL(text).format(**identifiers))

    def password_hash(self, user: str, password: str) -> str:
        """What the server stores of a password, computed here, so that the password stays here."""
        with self.connection() as connection:
            hashed = connection.pgconn.encrypt_password(
                password.encode(), user.encode(), b"scram-sha-256"
            )
        return hashed.decode()

    def _ready_pool(self) -> ConnectionPool[_Connection]:
        """The pool, which has an idle connection or a server that accepts another one.

        A pool connects in the background and tries again when it is refused: without a look at the
        server first, callers would wait for the whole time-out and never learn the reason.
        """
        with self._opening:
            if self._pool is None:
                self._pool = self._new_pool()
            pool = self._pool
        if not pool.get_stats()["pool_available"]:
            self._probe()
            pool.open()
        return pool

    def _discard(self, pool: ConnectionPool[_Connection]) -> None:
        with self._opening:
            if self._pool is pool:
                self._pool = None
        pool.close()

    def _new_pool(self) -> ConnectionPool[_Connection]:
        def configure(connection: _Connection) -> None:
            connection.patience_seconds = self._patience_seconds

        return ConnectionPool(
            self.url,
            connection_class=_Connection,
            kwargs={**self._options(), "row_factory": dict_row},
            configure=configure,
            min_size=0,
            max_size=MAX_CONNECTIONS,
            timeout=self._patience_seconds or CONNECT_SECONDS,
            reconnect_timeout=self._patience_seconds or CONNECT_SECONDS,
            num_workers=1,
            open=False,
        )

    def _options(self) -> dict[str, Any]:
        return {
            "autocommit": True,
            "connect_timeout": math.ceil(self._patience_seconds or CONNECT_SECONDS),
            "options": "-c timezone=UTC",
            "application_name": "streamflow",
        }

    def _probe(self) -> None:
        try:
            with psycopg.connect(self.url, **self._options()) as connection:
                major_version = connection.info.server_version // 10000
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(
                f"PostgreSQL at {_without_password(self.url)} doesn't answer: {str(error).strip()}",
                "Start it, or correct STREAMFLOW_DATABASE_URL.",
            ) from error
        if major_version < OLDEST_MAJOR_VERSION:
            raise DatabaseUnavailable(
                f"PostgreSQL {major_version} is too old.",
                f"Use version {OLDEST_MAJOR_VERSION} or newer, or leave "
                "STREAMFLOW_DATABASE_URL unset for the embedded one.",
            )


@contextmanager
def _errors_named(connection: psycopg.Connection[Row]) -> Iterator[None]:
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
