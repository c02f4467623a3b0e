"""A pool of connections to PostgreSQL, named queries from `sql/queries.sql`, COPY.

All sessions are in UTC. A transaction is a `with database.transaction():` block; outside of one,
each statement is a transaction of its own.
"""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row, tuple_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from streamflow.errors import DatabaseUnavailable, InvalidSettings
from streamflow.postgres.driver_errors import errors_translated
from streamflow.postgres.queries import composed, named_queries

ROWS_AT_A_TIME = 50_000

Row = dict[str, Any]
Connection = psycopg.Connection[Row]
Cursor = psycopg.Cursor[Row]
Identifiers = Mapping[str, sql.Composable]
# Returns the URL of a server that may be started again at another one.
Address = Callable[[], str]

OLDEST_MAJOR_VERSION = 15
CONNECT_SECONDS = 10
# Per Database object. Few threads of a process use one at the same time.
MAX_CONNECTIONS = 4


class _Connection(psycopg.Connection[Row]):
    """Closed when the server takes longer than `timeout_seconds` to respond, if that is set."""

    timeout_seconds: float | None = None

    # Not documented by psycopg: every round trip of a connection goes through `wait`. It is the
    # only place for a time limit that holds even if the server process hangs. pyproject.toml bounds
    # psycopg's version for this.
    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, timeout or self.timeout_seconds)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


class Database:
    """A pool of connections to PostgreSQL, which any thread may use at any time.

    `url` is asked for again at each connect if it is a function.

    A connection is opened when it is first needed, and all are replaced after one was lost. A
    forked process opens connections of its own. Without `timeout_seconds` a statement may take as
    long as the server works on it; with it, a longer one raises DatabaseUnavailable, for callers
    that must not wait for a server that hangs. At most MAX_CONNECTIONS threads are served at the
    same time; others wait for `timeout_seconds`, or CONNECT_SECONDS without it.
    """

    def __init__(self, url: str | Address, timeout_seconds: float | None = None) -> None:
        self.address: Address = url if callable(url) else lambda: url
        self._timeout_seconds = timeout_seconds
        self._pool: ConnectionPool[_Connection] | None = None
        self._pool_process = os.getpid()
        self._opening = threading.Lock()
        self._thread = threading.local()  # the connection of this thread's transaction

    @property
    def url(self) -> str:
        """The URL of the server as it is now."""
        return self.address()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections that are not in use, the others after their use.

        The next statement opens a connection again.
        """
        pool = self._current_pool()
        if pool is not None:
            self._discard(pool)

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Row]]:
        """The connection of this thread's transaction; without one, a connection for the block.

        Raises DatabaseUnavailable if the server can't be reached, is too old or is lost in the
        block, NotPermitted if a right is missing.
        """
        own: _Connection | None = getattr(self._thread, "connection", None)
        if own is not None:
            with errors_translated(own):
                yield own
            return
        pool, connection = self._borrow()
        try:
            with errors_translated(connection):
                yield connection
        finally:
            if connection.closed:
                # The pool's other connections are usually lost too. Without this, each later
                # statement would fail on one of them.
                self._discard(pool)
            pool.putconn(connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make this thread's statements in the block one transaction: all or nothing.

        Within another transaction it is a savepoint. Raises DatabaseUnavailable if the server is
        lost in the block.
        """
        with self.connection() as connection, connection.transaction():
            outer = getattr(self._thread, "connection", None)
            self._thread.connection = connection
            try:
                yield
            finally:
                self._thread.connection = outer

    def execute(
        self, name: str, identifiers: Identifiers | None = None, /, **values: object
    ) -> psycopg.Cursor[Row]:
        """Run the named query, with identifiers for its `{…}` and values for its `%(…)s`."""
        query = composed(name, identifiers)
        with self.connection() as connection:
            return connection.execute(query, values)

    def rows(
        self, name: str, identifiers: Identifiers | None = None, /, **values: object
    ) -> list[Row]:
        """All rows of the named query."""
        return self.execute(name, identifiers, **values).fetchall()

    def row(self, name: str, identifiers: Identifiers | None = None, /, **values: object) -> Row:
        """The named query's only row. Raises ValueError if it has another number of rows."""
        (row,) = self.rows(name, identifiers, **values)
        return row

    def stream(
        self, name: str, identifiers: Identifiers | None = None, /, **values: object
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of the named query as tuples, a part at a time, so that memory stays small."""
        text = self.render(name, identifiers, **values)
        with (
            self.transaction(),
            self.connection() as connection,
            connection.cursor("rows", row_factory=tuple_row) as cursor,
        ):
            cursor.itersize = ROWS_AT_A_TIME
            yield from cursor.execute(text.encode())

    def copy(self, name: str, content: bytes) -> None:
        """Load the content by the named COPY. Raises ValueError if PostgreSQL can't read it."""
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

    def render(self, name: str, identifiers: Identifiers | None = None, /, **values: object) -> str:
        """The named query as text with its values in it, for programs that take only text."""
        query = composed(name, identifiers)
        with self.connection() as connection:
            return psycopg.ClientCursor(connection).mogrify(query, values)

    def script(self, text: str, identifiers: Identifiers | None = None, /) -> None:
        """Run statements that return nothing, with identifiers for their `{…}` if given."""
        with self.connection() as connection:
            if identifiers is None:
                connection.execute(text.encode())
            else:
                connection.execute(sql.SQL(text).format(**identifiers))

    def password_hash(self, user: str, password: str) -> str:
        """The SCRAM hash that the server stores; the password itself is not sent."""
        with self.connection() as connection:
            hashed = connection.pgconn.encrypt_password(
                password.encode(), user.encode(), b"scram-sha-256"
            )
        return hashed.decode()

    def _borrow(self) -> tuple[ConnectionPool[_Connection], _Connection]:
        while True:
            pool = self._open_pool()
            try:
                return pool, pool.getconn()
            except PoolClosed:  # by another thread, after this one got the pool
                continue
            except PoolTimeout as error:
                raise DatabaseUnavailable(
                    f"PostgreSQL doesn't answer: {error}.", "Try again in a moment."
                ) from error

    def _open_pool(self) -> ConnectionPool[_Connection]:
        """A pool with an idle connection, or with room for another and a server that accepts it.

        A pool connects in the background and retries when it is refused. Without the probe, callers
        would wait for the whole timeout and never learn the reason.
        """
        pool = self._current_pool()
        if pool is None or _must_connect(pool):
            self._probe()
        with self._opening:
            pool = self._current_pool()
            if pool is None:
                pool = self._new_pool()
                pool.open()
                self._pool, self._pool_process = pool, os.getpid()
            return pool

    def _current_pool(self) -> ConnectionPool[_Connection] | None:
        # A forked process has a copy of the pool, whose sockets belong to its parent.
        return self._pool if self._pool_process == os.getpid() else None

    def _discard(self, pool: ConnectionPool[_Connection]) -> None:
        with self._opening:
            if self._pool is pool:
                self._pool = None
        pool.close()

    def _new_pool(self) -> ConnectionPool[_Connection]:
        def configure(connection: _Connection) -> None:
            connection.timeout_seconds = self._timeout_seconds

        return ConnectionPool(
            self.address,
            connection_class=_Connection,
            kwargs={**self._options(), "row_factory": dict_row},
            configure=configure,
            min_size=0,
            max_size=MAX_CONNECTIONS,
            timeout=self._timeout_seconds or CONNECT_SECONDS,
            reconnect_timeout=self._timeout_seconds or CONNECT_SECONDS,
            num_workers=1,
            open=False,
        )

    def _options(self) -> dict[str, Any]:
        return {
            "autocommit": True,
            "connect_timeout": math.ceil(self._timeout_seconds or CONNECT_SECONDS),
            "options": "-c timezone=UTC",
            "application_name": "streamflow",
        }

    def _probe(self) -> None:
        try:
            with psycopg.connect(self.url, **self._options()) as connection:
                major_version = connection.info.server_version // 10000
        except psycopg.OperationalError as error:
            reason = " ".join(str(error).split())
            raise DatabaseUnavailable(
                f"PostgreSQL at {_without_password(self.url)} doesn't answer: {reason}",
                "Start it, or correct STREAMFLOW_DATABASE_URL.",
            ) from error
        except psycopg.ProgrammingError as error:  # its message may quote the password
            raise InvalidSettings(
                "The address of the database isn't one that PostgreSQL understands.",
                "Write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with `%40` for an @ in "
                "the password: STREAMFLOW_DATABASE_URL.",
            ) from error
        if major_version < OLDEST_MAJOR_VERSION:
            raise DatabaseUnavailable(
                f"PostgreSQL {major_version} is too old.",
                f"Use version {OLDEST_MAJOR_VERSION} or newer, or leave "
                "STREAMFLOW_DATABASE_URL unset for the embedded one.",
            )


def _must_connect(pool: ConnectionPool[_Connection]) -> bool:
    """Whether no connection is idle, and the pool may open another one."""
    numbers = pool.get_stats()
    return not numbers["pool_available"] and numbers["pool_size"] < MAX_CONNECTIONS


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)
