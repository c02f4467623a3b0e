"""uvicorn's HTTP protocol with an end to what surrounds a body.

httptools would keep a head or a trailer without end in memory.

Parts of uvicorn that are used here: `HttpToolsProtocol` with its attributes `app`, `client`,
`server_state.default_headers` and `transport`, and that it is itself the parser's callbacks
`on_message_begin`, `on_headers_complete` and `on_body`. If one is missing in another version, a
request that is too large ends with its connection, without a response.
"""

from __future__ import annotations

import asyncio
from functools import partial
from http import HTTPStatus
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streamflow.api.http_app import Headers, HttpApp
from streamflow.api.limits import LARGEST_HEAD_BYTES

# A client whose connection is closed while it sends doesn't read the response.
_READING_SECONDS = 2.0
_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus
}


class LimitedHttpProtocol(HttpToolsProtocol):
    """Refuses a head that is too large before its end.

    The app refuses a head that is too large and arrived in one piece.
    """

    _framing_bytes = 0  # since the end of a head, or since a piece of a body
    _in_head = _refused = False

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self._framing_bytes, self._in_head = 0, False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body has arrived."""
        self._framing_bytes = 0
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        """Parse the data; refuse or close if it is too much of a head or a trailer."""
        if self._refused:
            return
        self._framing_bytes += len(data)
        super().data_received(data)
        if self._framing_bytes > LARGEST_HEAD_BYTES:
            if self._in_head:
                self._refuse()
            else:  # a trailer or a chunk's extension: a response may have begun already
                self.transport.close()

    def write_response(
        self, status: int, headers: Headers, body: bytes, *, keep_alive: bool
    ) -> None:
        """Write a whole response, with the server's own headers."""
        parts = [_STATUS_LINES[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        if not keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", body)
        self.write(b"".join(parts))

    def write(self, data: bytes) -> None:
        """Write to the connection at once."""
        self.transport.write(data)

    def _refuse(self) -> None:
        self._refused = True
        app = cast(HttpApp, self.app)
        app.refuse_head(self.client, partial(self.write_response, keep_alive=False))
        asyncio.get_running_loop().call_later(_READING_SECONDS, self.transport.close)
