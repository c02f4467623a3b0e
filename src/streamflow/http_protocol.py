"""uvicorn's HTTP, but for two things: a head without end is refused, and an answer is one write.

httptools would keep all of such a head in memory. And uvicorn writes an answer's head and body
apart: each is a system call of its own, and wakes the client, who can't do anything with a head.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streamflow.problems import LARGEST_HEAD_BYTES

# A client that is cut off while it sends doesn't read why.
_LISTENING_SECONDS = 2.0


class JoinedWrites:
    """A transport that holds a write back until the next one, or the end of the loop's turn."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        elif data:
            self._held = data
            self._loop.call_soon(self._let_go)

    def close(self) -> None:
        self._let_go()
        self._transport.close()

    def _let_go(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)


class HttpProtocol(HttpToolsProtocol):
    """Refuses a head that is too large before its end; one that came whole, the app refuses."""

    _head_bytes = 0
    _in_head = _refused = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        joined: Any = JoinedWrites(transport, self.loop)
        self.transport = joined

    def on_message_begin(self) -> None:
        self._head_bytes, self._in_head = 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD_BYTES:
                self._refuse()

    def _refuse(self) -> None:
        self._refused = True
        app: Any = self.app
        self.transport.write(app.refuse_head(self.client))
        self.loop.call_later(_LISTENING_SECONDS, self.transport.close)
