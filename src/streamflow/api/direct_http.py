"""uvicorn's HTTP, but for three things: what surrounds a body has an end, an answer is one write,
and what the app can answer directly doesn't go through ASGI.

httptools would keep a head or a trailer without end in memory. uvicorn writes an answer's head and
body apart: each is a system call of its own, and wakes the client, who can't do anything with a
head. And ASGI wants a task, an event and a handful of dictionaries for each request.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from streamflow.api.middleware import Headers
from streamflow.api.problems import LARGEST_HEAD_BYTES, Exchange, largest_body

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
            self.write_at_once(data)
        elif data:
            self._held = data
            self._loop.call_soon(self._let_go)

    def write_at_once(self, data: bytes) -> None:
        held, self._held = self._held, b""
        self._transport.write(held + data)

    def close(self) -> None:
        self._let_go()
        self._transport.close()

    def _let_go(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)


class _Asked:
    """A request that is answered directly, as far as uvicorn looks at one under way."""

    __slots__ = ("body", "disconnected", "exchange", "keep_alive", "largest", "response_complete")

    def __init__(self, exchange: Exchange, keep_alive: bool) -> None:
        self.exchange = exchange
        self.keep_alive = keep_alive
        self.largest = largest_body(str(exchange.route))
        self.body = bytearray()
        self.disconnected = self.response_complete = False

    @property
    def message_event(self) -> _Asked:
        return self

    def set(self) -> None:
        """Nobody waits for it to be over."""


class HttpProtocol(HttpToolsProtocol):
    """Refuses a head that is too large before its end; one that came whole, the app refuses."""

    _framing_bytes = 0  # since the end of a head, or a piece of a body
    _in_head = _refused = False
    _asked: _Asked | None = None  # until its body is there

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        joined: Any = JoinedWrites(transport, self.loop)
        self.transport = joined

    def connection_lost(self, exc: Exception | None) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:  # the app counts also who leaves before the body is whole
            self._hand_over(asked)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._framing_bytes, self._in_head = 0, False
        if self._is_plain():
            app: Any = self.app
            exchange = app.begin(self.url, self.headers, self.client)
            if exchange is not None:
                asked: Any = _Asked(exchange, self.parser.should_keep_alive())
                self._asked = self.cycle = asked
                return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        if self._asked is None:
            super().on_body(body)
            return
        self._asked.body += body
        if len(self._asked.body) > self._asked.largest:
            self._hand_over(self._asked)

    def on_message_complete(self) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            app: Any = self.app
            if app.answer(asked.exchange, bytes(asked.body), partial(self._answer, asked)):
                return
            self._hand_over(asked)
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._framing_bytes += len(data)
        super().data_received(data)
        if self._framing_bytes > LARGEST_HEAD_BYTES:
            if self._in_head:
                self._refuse()
            else:  # a trailer or a chunk's extension: an answer may be there already
                self.transport.close()

    def _is_plain(self) -> bool:
        return (
            self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
            and not self.flow.write_paused
            # Answers are given in the order of the requests.
            and (self.cycle is None or self.cycle.response_complete)
        )

    def _hand_over(self, asked: _Asked) -> None:
        """Let the app answer through ASGI what was held up to here."""
        none: Any = None
        self._asked = self.cycle = none
        super().on_headers_complete()
        scope: Any = self.scope
        scope["exchange"] = asked.exchange
        self.cycle.keep_alive = asked.keep_alive
        super().on_body(bytes(asked.body))

    def _answer(self, asked: _Asked, status: int, headers: Headers, body: bytes) -> None:
        asked.response_complete = True
        if asked.disconnected:
            return
        self._write(status, headers, body, asked.keep_alive)
        if not asked.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _write(self, status: int, headers: Headers, body: bytes, keep_alive: bool) -> None:
        parts = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        if not keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", body)
        joined: Any = self.transport
        joined.write_at_once(b"".join(parts))

    def _refuse(self) -> None:
        self._refused = True
        app: Any = self.app
        app.refuse_head(self.client, partial(self._write, keep_alive=False))
        self.loop.call_later(_LISTENING_SECONDS, self.transport.close)
