"""The direct HTTP path: predictions and scores without ASGI, each response in one write.

ASGI needs a task, an event and several dictionaries per request, a fifth of the time of a
prediction. uvicorn writes a response's head and body apart: each is a system call, and the client
can do nothing with a head alone.

Parts of uvicorn and httptools that are private, or not documented, and used here beside those in
`limited_http`:
- `HttpToolsProtocol`: `expect_100_continue`, `flow.write_paused`, `scope`; that it needs of `cycle`
  what `_DirectRequest` has.
- `HttpRequestParser.should_keep_alive`.
`http_protocol.TESTED` names the versions in which this was tested.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from streamflow.api.http_app import Headers, HttpApp
from streamflow.api.limited_http import LimitedHttpProtocol
from streamflow.api.limits import largest_body
from streamflow.api.request import SCOPE_KEY, RequestRecord
from streamflow.errors import StreamFlowError

_METHODS = (b"POST", b"GET")


class _DirectRequest:
    """A request on the direct path, with what uvicorn needs of the one that is in progress."""

    __slots__ = ("body", "disconnected", "keep_alive", "largest", "record", "response_complete")

    def __init__(self, record: RequestRecord, keep_alive: bool) -> None:
        self.record = record
        self.keep_alive = keep_alive
        self.largest = largest_body(str(record.route))
        self.body = bytearray()
        self.disconnected = self.response_complete = False

    @property
    def message_event(self) -> _DirectRequest:
        return self

    def set(self) -> None:
        """No task waits for this event."""


class DirectHttpProtocol(LimitedHttpProtocol):
    """Gives plain predictions and lookups of scores to the app without ASGI, and all other requests
    through it."""

    _receiving: _DirectRequest | None = None  # until its body is complete

    def connection_made(self, transport: Any) -> None:
        """Give the app requests beside ASGI too."""
        super().connection_made(transport)
        self._http_app = cast(HttpApp, self.app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the app count a request whose client left before the body was complete."""
        request, self._receiving = self._receiving, None
        if request is not None:
            self._continue_with_asgi(request)
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """Begin a request, on the direct path if the app admits it there."""
        if self._is_plain():
            method = self.parser.get_method().decode()
            record = self._http_app.begin(method, self.url, self.headers, self.client)
            if record is not None:
                self._begin_body()
                request = _DirectRequest(record, self.parser.should_keep_alive())
                self._receiving = self.cycle = request
                return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Collect the body; the app refuses through ASGI one that is too large."""
        request = self._receiving
        if request is None:
            super().on_body(body)
            return
        self._framing_bytes = 0
        request.body += body
        if len(request.body) > request.largest:
            self._continue_with_asgi(request)

    def on_message_complete(self) -> None:
        """Let the app respond to the request."""
        request, self._receiving = self._receiving, None
        if request is not None:
            self._end_body()
            send = partial(self._send, request)
            if self._http_app.respond(request.record, bytes(request.body), send):
                return
            self._continue_with_asgi(request)
        super().on_message_complete()

    def _is_plain(self) -> bool:
        return (
            self.parser.get_method() in _METHODS
            and self.parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
            and not self.flow.write_paused
            # Responses are sent in the order of the requests.
            and (self.cycle is None or self.cycle.response_complete)
        )

    def _fail_body(self, error: StreamFlowError) -> None:
        request, self._receiving = self._receiving, None
        if request is not None:
            self._continue_with_asgi(request)
        super()._fail_body(error)

    def _continue_with_asgi(self, request: _DirectRequest) -> None:
        """Give the request, and what has arrived of its body, to the app through ASGI."""
        self._receiving = self.cycle = None
        super().on_headers_complete()
        self.scope[SCOPE_KEY] = request.record
        self.cycle.keep_alive = request.keep_alive
        super().on_body(bytes(request.body))

    def _send(self, request: _DirectRequest, status: int, headers: Headers, body: bytes) -> None:
        request.response_complete = True
        if request.disconnected:
            return
        self.write_response(status, headers, body, keep_alive=request.keep_alive)
        if not request.keep_alive:
            self.transport.close()
        self.on_response_complete()
