"""One connection that belongs to an event loop: one statement at a time, with little overhead."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from operator import itemgetter

from psycopg import AsyncConnection, OperationalError, abc
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, error_message
from psycopg.pq import abc as pq
from psycopg.rows import TupleRow

from feast_postgres.connections import SESSION
from feast_postgres.online_rows import ResultRows
from feast_postgres.online_statement import changed_types, types_of

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 0.5
_CONNECT_SECONDS = 2
# The server cancels a statement that takes too long. If it does not report even that within this
# time, the connection is dead.
_GRACE_SECONDS = 0.2

# Called once, with the rows or with the error.
Callback = Callable[[ResultRows | Exception], None]


class ConnectionLost(Exception):
    """The server went away; a retry may succeed."""


def text_array(keys: Sequence[str]) -> bytes:
    """The keys as PostgreSQL's text form of an array. Raises ValueError for a NUL character."""
    quoted = '","'.join(key.replace("\\", "\\\\").replace('"', '\\"') for key in keys)
    if "\0" in quoted:
        raise ValueError("a PostgreSQL text can't hold the NUL character")
    return f'{{"{quoted}"}}'.encode() if keys else b"{}"


class EventLoopConnection:
    """A connection of the running event loop, for one statement at a time.

    It calls libpq directly: tasks, locks and cursors would take most of the time of so small a
    statement. A lost connection is opened again in the background; `on_change` is called when a
    connection is open or lost. A statement may take `patience_seconds`; if the server is silent for
    longer, `on_silence` is called, which by default drops the connection. `url` is asked for again
    at each connect if it is a function.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        on_change: Callable[[], None],
        *,
        patience_seconds: float = 1.0,
        on_silence: Callable[[], None] | None = None,
    ) -> None:
        self._url = url if callable(url) else lambda: url
        self._on_change = on_change
        self._patience_seconds = patience_seconds
        self._on_silence = on_silence or self.drop
        self._connection: AsyncConnection[TupleRow] | None = None
        self._callback: Callback | None = None
        self._prepared: dict[bytes, tuple[bytes, abc.Transformer]] = {}
        self._request: tuple[bytes, bytes] | None = None
        self._result_types: tuple[int, ...] | None = None
        self._preparing = False
        self._result: pq.PGresult | None = None
        self._socket = -1
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether the connection is open."""
        return self._connection is not None

    @property
    def idle(self) -> bool:
        """Whether the connection is open and no statement is in progress."""
        return self._connection is not None and self._callback is None

    async def open(self, patience_seconds: float) -> None:
        """Connect; after `patience_seconds` return, while attempts go on in the background."""
        self._connecting = asyncio.ensure_future(self._connect())
        await asyncio.wait([self._connecting], timeout=patience_seconds)

    async def close(self) -> None:
        """Close the connection; a statement in progress fails."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        self._disconnect(ConnectionLost("closed"))

    def send(
        self,
        statement: bytes,
        keys: Sequence[str],
        callback: Callback,
        result_types: tuple[int, ...] | None = None,
    ) -> None:
        """Execute the statement with the keys; `callback` receives the rows in the keys' order, or
        NotReadable if their columns aren't of these types.

        The connection must be idle.
        """
        assert self._connection is not None
        assert self._callback is None
        self._callback = callback
        try:
            self._request = statement, text_array(keys)
            self._result_types = result_types
            self._preparing = statement not in self._prepared
            pgconn = self._connection.pgconn
            if self._preparing:
                name = f"statement_{len(self._prepared)}".encode()
                self._prepared[statement] = name, Transformer(self._connection)
                pgconn.send_prepare(name, statement)
            else:
                self._send_query()
            self._flush()
        except OperationalError as error:
            self._disconnect(ConnectionLost(str(error)))
        except ValueError as error:
            self._finish(error)
        else:
            loop = asyncio.get_running_loop()
            self._sent_at = loop.time()
            if self._timer is None:
                self._timer = loop.call_later(self._longest_silence, self._check_silence)

    def drop(self) -> None:
        """Close the connection with its statement in progress, and open another one."""
        self._disconnect(ConnectionLost("no answer in time"))

    @property
    def _longest_silence(self) -> float:
        return self._patience_seconds + _GRACE_SECONDS

    def _check_silence(self) -> None:
        """One timer serves many statements: a timer for each would cost more than this check."""
        self._timer = None
        if self._callback is None:
            return  # the next statement sets it again
        loop = asyncio.get_running_loop()
        left = self._sent_at + self._longest_silence - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._check_silence)
        else:
            self._on_silence()

    def _send_query(self) -> None:
        assert self._connection is not None
        assert self._request is not None
        text, keys = self._request
        self._connection.pgconn.send_query_prepared(
            self._prepared[text][0], [keys], result_format=1
        )

    def _flush(self) -> None:
        assert self._connection is not None
        loop = asyncio.get_running_loop()
        if self._connection.pgconn.flush():  # more than the socket takes at once
            loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        try:
            assert self._connection is not None
            if not self._connection.pgconn.flush():
                asyncio.get_running_loop().remove_writer(self._socket)
        except OperationalError as error:
            self._disconnect(ConnectionLost(str(error)))

    def _readable(self) -> None:
        assert self._connection is not None
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
            while self._callback is not None and not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    self._received()
                else:
                    self._result = result
        except OperationalError as error:
            self._disconnect(ConnectionLost(str(error)))

    def _received(self) -> None:
        assert self._request is not None
        result, self._result = self._result, None
        assert result is not None
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            # Reconnect for any error: the statement may be prepared for columns that have changed
            # since, or the server may be shutting down.
            self._disconnect(ConnectionLost(error_message(result)))
        elif self._preparing:
            self._preparing = False
            self._send_query()
            self._flush()
        else:
            # Internal methods of psycopg used here: set_pgresult and load_rows of its Transformer.
            # They are what a cursor calls; one transformer per statement keeps its loaders.
            _, transformer = self._prepared[self._request[0]]
            if transformer.pgresult is None:
                # Once is enough: PostgreSQL refuses a prepared statement whose types change.
                if self._result_types not in (None, types_of(result)):
                    self._finish(changed_types())
                    return
                transformer.set_pgresult(result)
            else:
                transformer.set_pgresult(result, set_loaders=False)
            rows: ResultRows = transformer.load_rows(0, result.ntuples, tuple)
            rows.sort(key=itemgetter(0))
            self._finish(rows)

    def _finish(self, outcome: ResultRows | Exception) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(outcome)

    def _disconnect(self, reason: ConnectionLost) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            connection.pgconn.finish()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._prepared.clear()
        self._result = None
        if not self._closed and (self._connecting is None or self._connecting.done()):
            self._connecting = asyncio.ensure_future(self._connect())
        self._finish(reason)

    async def _connect(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        session = {**SESSION, "statement_timeout": f"{self._patience_seconds * 1000:.0f}"}
        while True:
            try:
                connection = await AsyncConnection.connect(
                    self._url(),
                    autocommit=True,
                    connect_timeout=_CONNECT_SECONDS,
                    application_name="feast_postgres",
                    options=" ".join(f"-c {name}={value}" for name, value in session.items()),
                )
                break
            except Exception:
                # Retry after any error: without a retry the connection would stay lost.
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        self._connection = connection
        self._socket = connection.pgconn.socket
        asyncio.get_running_loop().add_reader(self._socket, self._readable)
        self._on_change()
