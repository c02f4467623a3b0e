"""What holds for every request: a key, an id, a largest size, always an answer, a line in the log.

Addresses in `direct` are answered without FastAPI, whose routing and
parsing cost more than a prediction, and without ASGI, which costs a fifth of one; whatever isn't a
plain valid request goes on to FastAPI, which says what is wrong with it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from secrets import token_hex

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope
from starlette.types import Send as AsgiSend

from streamflow import log
from streamflow.api import problems
from streamflow.api.problems import BATCH_PATH, LARGEST_HEAD_BYTES, Exchange, HeadTooLarge
from streamflow.api.telemetry.telemetry import METHODS, Telemetry
from streamflow.errors import StreamFlowError
from streamflow.keys.access import Access
from streamflow.keys.api_keys import Scope as KeyScope
from streamflow.keys.audit import Attempt, Audit
from streamflow.serving.batching import Tell

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")

# Open to everybody: whoever balances load has no key, and the documentation tells of nobody.
OPEN = frozenset({"/health", "/ready", "/docs", "/docs/oauth2-redirect", "/openapi.json"})
_JSON = (b"content-type", b"application/json")
_OPEN_FILES = "/static-offline-docs/"
# Problems of an entity's data, which are nobody's attempt at anything.
_OF_DATA = frozenset({"missing_features", "stale_features", "unseen_category"})

Headers = Sequence[tuple[bytes, bytes]]
# Given a body, has the answer's told, later or at once; or is False if FastAPI is to look at it.
Direct = Callable[[bytes, Exchange, Tell[bytes]], bool]
# Given an answer's status, headers and body.
Send = Callable[[int, Headers, bytes], None]


def needed(path: str) -> KeyScope | None:
    """The scope that a key must have; an address that isn't named here is closed as well."""
    if path in ("/predict", BATCH_PATH):
        return KeyScope.PREDICT
    if path in OPEN or path.startswith(_OPEN_FILES):
        return None
    return KeyScope.READ


class RequestBoundary:
    def __init__(
        self,
        app: FastAPI,
        metrics: Telemetry,
        direct: Mapping[str, Direct],
        access: Access,
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.direct = direct
        self.access = access
        self.audit = audit
        self.now = now

    def begin(
        self, url: bytes, headers: Headers, client: tuple[str, int] | None
    ) -> Exchange | None:
        """Let in a POST to `url` that can be answered directly; None if the app is to see to it."""
        path = url.decode("latin-1")
        named = _by_name(headers)
        media_type = named.get(b"content-type", b"").partition(b";")[0]
        if path not in self.direct or media_type.strip().lower() != b"application/json":
            return None
        exchange = _exchange("POST", named, client)
        try:
            self._admit(exchange, path, b"", headers, named)
        except Exception:
            return None  # which the app finds and tells
        exchange.route = path
        return exchange

    def answer(self, exchange: Exchange, body: bytes, send: Send) -> bool:
        """Answer what `begin` let in, later or at once; False if the app is to answer it."""
        path = str(exchange.route)
        tell = partial(self._tell, exchange, path, send)
        try:
            return self.direct[path](body, exchange, tell)
        except Exception as error:
            tell(error)
            return True

    def _tell(self, exchange: Exchange, path: str, send: Send, told: bytes | Exception) -> None:
        if isinstance(told, bytes):
            status, content = 200, told
            headers = [(b"content-length", str(len(told)).encode()), _JSON]
        else:
            problem = problems.tell(exchange, path, told)
            status, content, headers = problem.status_code, bytes(problem.body), problem.raw_headers
        send(status, [*headers, (b"x-request-id", exchange.request_id.encode())], content)
        self._answered(exchange, status)

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        let_in: Exchange | None = scope.get("exchange")
        named = _by_name(scope["headers"])
        exchange = let_in or _exchange(scope["method"], named, scope.get("client"))
        scope["exchange"] = exchange
        status = 0  # until an answer was started
        received = 0
        largest = problems.largest_body(scope["path"])

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > largest:
                raise HTTPException(413)
            return message

        def send_marked(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", exchange.request_id.encode()))
            return send(message)

        try:
            refusal = None if let_in else self._refusal(scope, named, exchange)
            await (refusal or self.app)(scope, receive_limited, send_marked)
        except Exception as error:
            if status:
                log.failure("request_failed", error, request_id=exchange.request_id)
                raise  # half an answer is out: only the connection's end can tell
            await problems.respond(Request(scope), error)(scope, receive, send_marked)
        finally:
            # Raw paths hold ids, and have no end: only a route's template may be a label.
            unnamed = "unmatched" if status == 404 else "other"
            route = str(getattr(scope.get("route"), "path_format", unnamed))
            exchange.route = exchange.route or route
            self._answered(exchange, status)

    def _refusal(
        self, scope: Scope, named: Mapping[bytes, bytes], exchange: Exchange
    ) -> JSONResponse | None:
        """The answer to whoever may not ask this; None to everybody else."""
        try:
            self._admit(exchange, scope["path"], scope["query_string"], scope["headers"], named)
        except StreamFlowError as error:
            matching = (one for one in self.app.routes if one.matches(scope)[0] is not Match.NONE)
            exchange.route = getattr(next(matching, None), "path_format", None)
            exchange.key_id = getattr(error, "key_id", None)
            return problems.respond(Request(scope), error)
        return None

    def _admit(
        self,
        exchange: Exchange,
        path: str,
        query: bytes,
        headers: Headers,
        named: Mapping[bytes, bytes],
    ) -> None:
        """Raises AccessRefused, HeadTooLarge."""
        if len(path) + len(query) + sum(map(len, chain(*headers))) > LARGEST_HEAD_BYTES:
            raise HeadTooLarge()
        exchange.key_id = self.access.admit(needed(path), named.get(b"authorization"), query)

    def _answered(self, exchange: Exchange, status: int) -> None:
        if 400 <= status < 500:
            self._note(exchange)
        self.metrics.request_answered(
            request_id=exchange.request_id,
            route=str(exchange.route),
            method=exchange.method,
            status=status,
            seconds=time.perf_counter() - exchange.arrived,
            model_version=exchange.model_version,
            problem=exchange.problem,
            key_id=exchange.key_id,
            traceparent=exchange.traceparent,
        )

    def _note(self, exchange: Exchange) -> None:
        if exchange.problem is not None and exchange.problem not in _OF_DATA:
            method = exchange.method if exchange.method in METHODS else "other"
            address = exchange.client[0] if exchange.client else None
            route = str(exchange.route)
            attempt = Attempt(exchange.problem, route, method, address, exchange.key_id)
            self.audit.note(attempt, self.now())

    def refuse_head(self, client: tuple[str, int] | None, send: Send) -> None:
        """Answer a client whose address and headers are too large before their end."""
        exchange = Exchange(token_hex(16), "other", client, time.perf_counter(), route="other")
        self._tell(exchange, "/", send, HeadTooLarge())


class Unforeseen:
    """Inside FastAPI, whose own last resort would answer in plain text."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        started = False

        async def send_noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            await problems.respond(Request(scope), error)(scope, receive, send)


def _by_name(headers: Headers) -> dict[bytes, bytes]:
    return dict(reversed(headers))  # the first of a name counts


def _exchange(
    method: str, named: Mapping[bytes, bytes], client: tuple[str, int] | None
) -> Exchange:
    given_id = named.get(b"x-request-id", b"").decode("latin-1")
    request_id = given_id if REQUEST_ID.fullmatch(given_id) else token_hex(16)
    return Exchange(request_id, method, client, time.perf_counter(), named.get(b"traceparent"))
