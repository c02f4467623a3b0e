"""uvicorn's HTTP protocol with bounds to what a connection may hold, and for how long.

uvicorn parses, and keeps, every request that a client sends before it has its responses; it waits
without end for the rest of a request, takes trailers for headers, and lets the error of one request
overtake the responses to those before it.

Parts of uvicorn and httptools that are private, or not documented, and used here:
- `HttpToolsProtocol`: `_unset_keepalive_if_required`, `app`, `client`, `cycle`, `flow`, `headers`,
  `loop`, `parser`, `pipeline`, `server_state.default_headers`, `timeout_keep_alive_task`, `url`;
  that `transport` and `flow` may be replaced in `connection_made`; `on_response_complete`; that it
  is itself the parser's callbacks, and pauses reading when a request waits behind another.
- `RequestResponseCycle`: `keep_alive`, `message_event`, `response_complete`, `scope`.
- `FlowControl`: `pause_reading`, `read_paused`, `resume_reading`.
- `HttpRequestParser`: `get_http_version`, `get_method`, `should_upgrade`; that after
  HttpParserUpgrade it expects a new request.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streamflow import log
from streamflow.api import limits
from streamflow.api.http_app import Headers, HttpApp
from streamflow.api.request import FAULT_KEY
from streamflow.api.request_errors import (
    CONNECTION_ENDED,
    HeadTooLarge,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    RequestTimeout,
)
from streamflow.api.transport import JoinedWrites, ReadingPauses, response_bytes
from streamflow.errors import StreamFlowError

# At most so much is parsed before it is looked at how many requests wait. The shortest request has
# nine bytes.
_PIECE_BYTES = 512


class LimitedHttpProtocol(HttpToolsProtocol):
    """Parses the next piece once no request waits, and ends what is too large, slow or malformed.

    The response to a request that can't be parsed is a problem document, after the responses to the
    requests before it. The app refuses a head that is too large and arrived in one piece.
    """

    transport: Any  # JoinedWrites, for uvicorn a transport
    flow: Any  # ReadingPauses
    cycle: Any  # uvicorn's RequestResponseCycle, or a request of the direct path
    scope: Any
    _unparsed: memoryview | bytes = b""
    _framing_bytes = 0  # since the end of a head, or since a piece of a body
    _in_head = _in_body = False
    _ended = False  # nothing more is parsed
    _refusal: StreamFlowError | None = None  # to be sent after the responses under way
    _deadline: asyncio.TimerHandle | None = None  # for the client to send
    _reading_deadline: asyncio.TimerHandle | None = None  # for the client to read

    def connection_made(self, transport: Any) -> None:
        """Join the writes of the connection, and expect a head."""
        super().connection_made(transport)
        self.transport = JoinedWrites(transport, self.loop)
        self.flow = ReadingPauses(self.transport, self.loop, self._continue)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all timers, and drop what wasn't parsed."""
        self._stop_parsing()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data, or a first piece of it."""
        if self._ended:
            return
        self._unset_keepalive_if_required()
        if len(data) > _PIECE_BYTES or self.flow.read_paused:
            self._unparsed = memoryview(bytes(self._unparsed) + data)
            if not self.flow.read_paused:
                self._parse_pieces()
        else:
            self._parse(data)
        self._set_deadline()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn lets asyncio close
        """Keep the connection until the client has the responses to what it has sent."""
        if not self._ended and not self._unparsed:
            if self._in_body:
                self._fail_body(MalformedRequest(CONNECTION_ENDED))
            elif not self._is_idle():
                self.cycle.keep_alive = False
                self._stop_parsing()
        return not self._is_idle() or bool(self._unparsed)

    def pause_writing(self) -> None:
        """Give a client that doesn't read a limited time to do so."""
        super().pause_writing()
        end = self.transport.abort
        self._reading_deadline = self.loop.call_later(limits.READING_SECONDS, end)

    def resume_writing(self) -> None:
        """The client has read."""
        if self._reading_deadline is not None:
            self._reading_deadline.cancel()
            self._reading_deadline = None
        super().resume_writing()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; a trailer is dropped, which could otherwise pass for one."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head has ended."""
        if self.parser.should_upgrade():
            return  # it is parsed again, see _parse_without_upgrade
        if self.url[:1] != b"/" and httptools.parse_url(self.url).path is None:
            self.url += b"/"
        super().on_headers_complete()
        self._begin_body()

    def on_body(self, body: bytes) -> None:
        """A piece of a body has arrived."""
        self._framing_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has arrived."""
        if self._in_head:
            return  # of a request to upgrade
        self._end_body()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Send the refusal that waited for this response, if it is the last."""
        super().on_response_complete()
        if self._refusal is not None and self._is_idle() and not self.transport.is_closing():
            self._send_refusal(self._refusal)
        elif self._in_head:
            self._unset_keepalive_if_required()  # the head has a deadline of its own

    def write_response(
        self, status: int, headers: Headers, body: bytes, *, keep_alive: bool
    ) -> None:
        """Write a whole response at once, with the server's own headers."""
        given = [*self.server_state.default_headers, *headers]
        if not keep_alive:
            given.append((b"connection", b"close"))
        self.transport.write_at_once(response_bytes(status, given, body))

    def _begin_body(self) -> None:
        self._framing_bytes, self._in_head, self._in_body = 0, False, True
        self._end_deadline()

    def _end_body(self) -> None:
        self._in_body = False
        self._end_deadline()

    def _parse_pieces(self) -> None:
        """Parse pieces of what is unparsed, and the next one in another turn of the loop, unless it
        belongs to the same body."""
        more = True
        while more:
            piece, self._unparsed = self._unparsed[:_PIECE_BYTES], self._unparsed[_PIECE_BYTES:]
            self._parse(piece)
            if self._ended or self.transport.is_closing():
                self._unparsed = b""
            more = self._in_body and not self.flow.read_paused and bool(self._unparsed)
        if self._unparsed:
            self.flow.pause_reading()
            self.flow.resume_reading()

    def _continue(self) -> None:
        """Read again, unless a request waits behind another."""
        if self.pipeline or self._ended or not self.flow.read_paused:
            return
        self.flow.end_pause()
        if self._unparsed:
            self._parse_pieces()
        self._set_deadline()

    def _parse(self, data: bytes | memoryview) -> None:
        self._framing_bytes += len(data)
        upgrade = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as found:
            (upgrade,) = found.args
        except httptools.HttpParserError as error:
            self._fail(_problem(error))
        if upgrade is not None:
            self._parse_without_upgrade(bytes(data[upgrade:]))
        if self._framing_bytes > limits.LARGEST_HEAD_BYTES and not self._ended:
            self._fail(HeadTooLarge())

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Parse the head again without its header Upgrade, which a server may ignore.

        The parser would take what follows it for another protocol, and not for the body.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            self._fail(MethodNotAllowed("CONNECT"))
            return
        lines = [b"%s %s HTTP/%s" % (method, self.url, version.encode())]
        lines += (b"%s: %s" % header for header in self.headers if header[0] != b"upgrade")
        self._framing_bytes = 0
        self._parse(b"\r\n".join([*lines, b"", rest]))

    def _is_idle(self) -> bool:
        """Whether every request so far has its response."""
        return self.cycle is None or self.cycle.response_complete

    def _fail(self, error: StreamFlowError) -> None:
        """Respond with the error to the request that is being parsed, and parse nothing more."""
        self.transport.linger()
        if self._in_body:
            self._fail_body(error)
        else:
            self._refuse(error)

    def _fail_body(self, error: StreamFlowError) -> None:
        self._stop_parsing()
        if self._is_idle():  # the response didn't need the body
            self.transport.close()
            return
        self.cycle.scope[FAULT_KEY] = error
        self.cycle.keep_alive = False
        self.cycle.message_event.set()

    def _refuse(self, error: StreamFlowError) -> None:
        self._stop_parsing()
        if self._is_idle():
            self._send_refusal(error)
        else:
            self._refusal = error

    def _send_refusal(self, error: StreamFlowError) -> None:
        self._refusal = None
        self._unset_keepalive_if_required()
        app = cast(HttpApp, self.app)
        app.refuse(error, self.client, partial(self.write_response, keep_alive=False))
        self.transport.close()

    def _stop_parsing(self) -> None:
        self._ended = True
        self._unparsed = b""
        self._end_deadline()
        self.flow.end_pause()  # what arrives is dropped

    def _set_deadline(self) -> None:
        """Give the client a limited time to send what it has begun, or hasn't."""
        if self._deadline is not None or self._ended or self.flow.read_paused:
            return
        if self._in_body:
            seconds = limits.BODY_SECONDS
        elif self._in_head or (self._is_idle() and self.timeout_keep_alive_task is None):
            seconds = limits.HEAD_SECONDS
        else:
            return
        self._deadline = self.loop.call_later(seconds, self._time_over)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _time_over(self) -> None:
        self._deadline = None
        if self.flow.read_paused or self.transport.is_closing():
            return  # the client may be waiting for us
        if self._in_head:
            self._fail(RequestTimeout("head", limits.HEAD_SECONDS))
        elif self._in_body:
            self._fail(RequestTimeout("body", limits.BODY_SECONDS))
        else:  # nothing was asked
            self.transport.close()


def _problem(error: httptools.HttpParserError) -> StreamFlowError:
    """What is wrong with a request by the parser's error, which may come from a callback."""
    cause = error.__context__
    if isinstance(error, httptools.HttpParserCallbackError) and cause is not None:
        if not isinstance(cause, httptools.HttpParserError):
            log.failure("request_failed", cause)
            return InternalError()
        return MalformedRequest("its address can't be parsed")
    return MalformedRequest(str(error))
