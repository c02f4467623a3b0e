"""One question at a time to PostgreSQL, as fast as an event loop can ask it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from psycopg import AsyncConnection, OperationalError, abc
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, error_message
from psycopg.pq import abc as pq

from feast_postgres.connections import SESSION
from feast_postgres.reading import Rows

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 0.5
_CONNECT_SECONDS = 2
# The server ends a question that takes too long by itself. From who doesn't hear of that within
# this long, nothing is to be heard any more.
_GRACE_SECONDS = 0.2


class ConnectionLost(Exception):
    """The server went away; asking again may help."""


def text_array(keys: Sequence[str]) -> bytes:
    """The keys as PostgreSQL writes an array of text. Raises ValueError for a NUL character."""
    quoted = '","'.join(key.replace("\\", "\\\\").replace('"', '\\"') for key in keys)
    if "\0" in quoted:
        raise ValueError("a PostgreSQL text can't hold the NUL character")
    return f'{{"{quoted}"}}'.encode() if keys else b"{}"


class Lane:
    """One connection of the running event loop, for one statement at a time.

    It speaks to libpq itself: no task, lock or cursor between the socket and the answer, which are
    most of the time of so small a question. A lost connection is made again by itself; `changed` is
    called when it's there, or gone. A question may take `patience_seconds`; when the server is
    silent for longer, `silent` is called, which by itself drops the connection.
    """

    def __init__(
        self,
        url: str,
        changed: Callable[[], None],
        *,
        patience_seconds: float = 1.0,
        silent: Callable[[], None] | None = None,
    ) -> None:
        self._url = url
        self._changed = changed
        self._patience_seconds = patience_seconds
        self._silent = silent or self.drop
        self._connection: AsyncConnection[Any] | None = None
        self._done: Callable[[Rows | Exception], None] | None = None
        self._names: dict[bytes, tuple[bytes, abc.Transformer]] = {}
        self._asked: tuple[bytes, bytes] | None = None
        self._preparing = False
        self._result: pq.PGresult | None = None
        self._socket = -1
        self._asked_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @property
    def idle(self) -> bool:
        return self._connection is not None and self._done is None

    async def open(self, patience_seconds: float) -> None:
        """Connect; after `patience_seconds` the trying goes on behind the caller's back."""
        self._connecting = asyncio.ensure_future(self._connect())
        await asyncio.wait([self._connecting], timeout=patience_seconds)

    async def close(self) -> None:
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        self._lose(ConnectionLost("closed"))

    def send(
        self, statement: bytes, keys: Sequence[str], done: Callable[[Rows | Exception], None]
    ) -> None:
        """Ask for the rows of `keys`; `done` is called with them, in the order of `keys`, or with
        what went wrong. The lane has to be idle."""
        assert self._connection is not None
        assert self._done is None
        self._done = done
        try:
            self._asked = statement, text_array(keys)
            self._preparing = statement not in self._names
            pgconn = self._connection.pgconn
            if self._preparing:
                name = f"lane_{len(self._names)}".encode()
                self._names[statement] = name, Transformer(self._connection)
                pgconn.send_prepare(name, statement)
            else:
                self._send_query()
            self._flush()
        except OperationalError as error:
            self._lose(ConnectionLost(str(error)))
        except ValueError as error:
            self._finish(error)
        else:
            loop = asyncio.get_running_loop()
            self._asked_at = loop.time()
            if self._watch is None:
                self._watch = loop.call_later(self._longest_silence, self._look)

    def drop(self) -> None:
        """Give the connection up, with the question that is under way, and make another."""
        self._lose(ConnectionLost("no answer in time"))

    @property
    def _longest_silence(self) -> float:
        return self._patience_seconds + _GRACE_SECONDS

    def _look(self) -> None:
        """One timer for many questions: setting one for each would take longer than this look."""
        self._watch = None
        if self._done is None:
            return  # the next question sets it again
        loop = asyncio.get_running_loop()
        left = self._asked_at + self._longest_silence - loop.time()
        if left > 0:
            self._watch = loop.call_later(left, self._look)
        else:
            self._silent()

    def _send_query(self) -> None:
        assert self._connection is not None
        assert self._asked is not None
        text, keys = self._asked
        self._connection.pgconn.send_query_prepared(self._names[text][0], [keys], result_format=1)

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
            self._lose(ConnectionLost(str(error)))

    def _readable(self) -> None:
        assert self._connection is not None
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
            while self._done is not None and not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    self._received()
                else:
                    self._result = result
        except OperationalError as error:
            self._lose(ConnectionLost(str(error)))

    def _received(self) -> None:
        assert self._asked is not None
        result, self._result = self._result, None
        assert result is not None
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            # Whatever it is, a new connection has no part in it: a statement prepared before a
            # column changed, a server that is shutting down.
            self._lose(ConnectionLost(error_message(result)))
        elif self._preparing:
            self._preparing = False
            self._send_query()
            self._flush()
        else:
            _, transformer = self._names[self._asked[0]]
            if transformer.pgresult is None:
                transformer.set_pgresult(result)
            else:
                transformer.set_pgresult(result, set_loaders=False)
            rows: Rows = transformer.load_rows(0, result.ntuples, tuple)
            rows.sort(key=itemgetter(0))
            self._finish(rows)

    def _finish(self, answer: Rows | Exception) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(answer)

    def _lose(self, reason: ConnectionLost) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            connection.pgconn.finish()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._names.clear()
        self._result = None
        if not self._closed and (self._connecting is None or self._connecting.done()):
            self._connecting = asyncio.ensure_future(self._connect())
        self._finish(reason)

    async def _connect(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        session = {**SESSION, "statement_timeout": f"{self._patience_seconds * 1000:.0f}"}
        while True:
            try:
                connection: AsyncConnection[Any] = await AsyncConnection.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=_CONNECT_SECONDS,
                    application_name="feast_postgres",
                    options=" ".join(f"-c {name}={value}" for name, value in session.items()),
                )
                break
            except Exception:
                # Also what isn't the server's fault: a lane that gave up would never come back.
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        self._connection = connection
        self._socket = connection.pgconn.socket
        asyncio.get_running_loop().add_reader(self._socket, self._readable)
        self._changed()
