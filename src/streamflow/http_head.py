"""uvicorn's HTTP, but for a head without end: httptools would keep all of it in memory."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streamflow.problems import LARGEST_HEAD_BYTES

# A client that is cut off while it sends doesn't read why.
_LISTENING_SECONDS = 2.0


class LimitedHttp(HttpToolsProtocol):
    """Refuses a head that is too large before its end; one that came whole, the app refuses."""

    _head_bytes = 0
    _in_head = _refused = False

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
