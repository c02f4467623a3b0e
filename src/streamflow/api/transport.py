"""What lies between uvicorn's protocol and its transport: joined writes and pauses of reading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl

from streamflow.api import limits
from streamflow.api.http_app import Headers

_LINGERING_SECONDS = 2.0
_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus
}


def response_bytes(status: int, headers: Headers, body: bytes) -> bytes:
    """A whole response."""
    parts = [_STATUS_LINES[status]]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    parts += (b"\r\n", body)
    return b"".join(parts)


class JoinedWrites:
    """A transport that delays a write until the next one, or until the end of the loop's turn.

    What is written for a client that has gone is dropped.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._delayed = b""
        self._lingers = self._closing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write at the end of the loop's turn, or now together with what was delayed."""
        if self._delayed:
            self.write_at_once(data)
        elif data:
            self._delayed = data
            self._loop.call_soon(self._flush)

    def write_at_once(self, data: bytes) -> None:
        """Write what was delayed and the data in one piece."""
        delayed, self._delayed = self._delayed, b""
        # uvicorn tells only the newest request of a connection that its client has gone.
        if not self.is_closing():
            self._transport.write(delayed + data)

    def linger(self) -> None:
        """Let `close` wait for the client to close, for a time.

        A client whose connection is closed while it sends doesn't read the response.
        """
        self._lingers = True

    def is_closing(self) -> bool:
        """Whether nothing more is written."""
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        """Write what was delayed, and close once the client has read all, or not within a time."""
        self._flush()
        if self._lingers and not self.is_closing():
            self._closing = True
            self._transport.write_eof()
            self._loop.call_later(_LINGERING_SECONDS, self._close)
        elif not self._closing:
            self._close()

    def _close(self) -> None:
        if self._transport.is_closing():
            return
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(limits.READING_SECONDS, self._transport.abort)

    def _flush(self) -> None:
        if self._delayed:
            self.write_at_once(b"")


class ReadingPauses(FlowControl):
    """uvicorn's flow control that doesn't end a pause of reading by itself.

    `on_resume` is called in the loop's next turn after uvicorn wanted to read again, and ends the
    pause by `end_pause` once there is room.
    """

    def __init__(
        self, transport: Any, loop: asyncio.AbstractEventLoop, on_resume: Callable[[], None]
    ) -> None:
        super().__init__(transport)
        self._loop = loop
        self._on_resume = on_resume

    def resume_reading(self) -> None:
        """Ask for the end of the pause."""
        if self.read_paused:
            self._loop.call_soon(self._on_resume)

    def end_pause(self) -> None:
        """Read again."""
        super().resume_reading()
