"""What holds for every request: a key, an id, a largest size, always an answer, a line in the log.

A part of `streamflow.api`. Addresses in `direct` are answered here, ahead of FastAPI, whose routing
and parsing cost more than a prediction; whatever isn't a plain valid request goes on to FastAPI,
which says what is wrong with it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from itertools import chain
from secrets import token_hex

from fastapi import FastAPI
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamflow import problems, telemetry
from streamflow.access import Access
from streamflow.api_keys import Scope as KeyScope
from streamflow.audit import Attempt, Audit
from streamflow.errors import StreamFlowError
from streamflow.problems import (
    BATCH_PATH,
    LARGEST_HEAD_BYTES,
    Exchange,
    HeadTooLarge,
    InternalError,
)
from streamflow.telemetry import METHODS, Telemetry

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")

# Open to everybody: whoever balances load has no key, and the documentation tells of nobody.
OPEN = frozenset({"/health", "/ready", "/docs", "/docs/oauth2-redirect", "/openapi.json"})
_OPEN_FILES = "/static-offline-docs/"
# Problems of an entity's data, which are nobody's attempt at anything.
_OF_DATA = frozenset({"missing_features", "stale_features", "unseen_category"})

# Given a body, the answer's; or None if FastAPI is to look at it.
Direct = Callable[[bytes, Exchange], Awaitable[bytes | None]]


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        arrived = time.perf_counter()
        headers = dict(reversed(scope["headers"]))  # the first of a name counts
        given_id = headers.get(b"x-request-id", b"").decode("latin-1")
        exchange = Exchange(given_id if REQUEST_ID.fullmatch(given_id) else token_hex(16))
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
            refusal = self._refusal(scope, headers, exchange)
            direct = self.direct.get(scope["path"]) if scope["method"] == "POST" else None
            if refusal is not None:
                await refusal(scope, receive, send_marked)
            elif direct is not None and headers.get(b"content-type") == b"application/json":
                await self._directly(direct, exchange, scope, receive_limited, send_marked)
            else:
                await self.app(scope, receive_limited, send_marked)
        except Exception as error:
            answer = _failed(Request(scope), error)
            if status:
                raise  # half an answer is out: only the connection's end can tell
            await answer(scope, receive, send_marked)
        finally:
            # Raw paths hold ids, and have no end: only a route's template may be a label.
            unnamed = "unmatched" if status == 404 else "other"
            route = exchange.route or str(getattr(scope.get("route"), "path_format", unnamed))
            if 400 <= status < 500:
                self._note(exchange, route, scope["method"], scope.get("client"))
            self.metrics.request_answered(
                request_id=exchange.request_id,
                route=route,
                method=scope["method"],
                status=status,
                seconds=time.perf_counter() - arrived,
                model_version=exchange.model_version,
                problem=exchange.problem,
                key_id=exchange.key_id,
                traceparent=headers.get(b"traceparent"),
            )

    def _refusal(
        self, scope: Scope, headers: Mapping[bytes, bytes], exchange: Exchange
    ) -> JSONResponse | None:
        """The answer to whoever may not ask this; None to everybody else."""
        try:
            address = len(scope["path"]) + len(scope["query_string"])
            if address + sum(map(len, chain(*scope["headers"]))) > LARGEST_HEAD_BYTES:
                raise HeadTooLarge()
            exchange.key_id = self.access.admit(
                needed(scope["path"]), headers.get(b"authorization"), scope["query_string"]
            )
        except StreamFlowError as error:
            matching = (one for one in self.app.routes if one.matches(scope)[0] is not Match.NONE)
            exchange.route = getattr(next(matching, None), "path_format", None)
            exchange.key_id = getattr(error, "key_id", None)
            return problems.respond(Request(scope), error)
        return None

    def _note(
        self, exchange: Exchange, route: str, method: str, client: tuple[str, int] | None
    ) -> None:
        if exchange.problem is not None and exchange.problem not in _OF_DATA:
            method = method if method in METHODS else "other"
            address = client[0] if client else None
            attempt = Attempt(exchange.problem, route, method, address, exchange.key_id)
            self.audit.note(attempt, self.now())

    def refuse_head(self, client: tuple[str, int] | None) -> bytes:
        """All that is sent to a client whose address and headers are too large before their end."""
        error = HeadTooLarge()
        exchange = Exchange(token_hex(16), problem=error.code)
        told = problems.document(error, instance="/", request_id=exchange.request_id)
        content = to_json(told)
        self._note(exchange, "other", "other", client)
        self.metrics.request_answered(
            request_id=exchange.request_id,
            route="other",
            method="other",
            status=told["status"],
            seconds=0.0,
            model_version=None,
            problem=exchange.problem,
        )
        head = (
            f"HTTP/1.1 {told['status']} {told['title']}\r\n"
            f"content-type: {problems.MEDIA_TYPE}\r\ncontent-length: {len(content)}\r\n"
            f"x-request-id: {exchange.request_id}\r\nconnection: close\r\n\r\n"
        )
        return head.encode() + content

    async def _directly(
        self, direct: Direct, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        exchange.route = scope["path"]
        heard: list[Message] = []
        try:
            while not heard or heard[-1].get("more_body", False):
                heard.append(await receive())
            whole = heard[-1]["type"] == "http.request"  # and not that the client has left
        except HTTPException as error:
            answer = await problems.on_http_exception(Request(scope), error)
            await answer(scope, receive, send)
            return
        body = b"".join(message.get("body", b"") for message in heard)
        try:
            content = await direct(body, exchange) if whole else None
        except StreamFlowError as error:
            answer = await problems.on_streamflow_error(Request(scope), error)
            await answer(scope, receive, send)
            return
        if content is None:

            async def receive_again() -> Message:
                return heard.pop(0) if heard else await receive()

            await self.app(scope, receive_again, send)
            return
        headers = [
            (b"content-length", str(len(content)).encode()),
            (b"content-type", b"application/json"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


class Unforeseen:
    """Inside FastAPI, whose own last resort would answer in plain text."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
            answer = _failed(Request(scope), error)
            await answer(scope, receive, send)


def _failed(request: Request, error: Exception) -> JSONResponse:
    exchange = problems.exchange_of(request)
    telemetry.log_failure("request_failed", error, request_id=exchange.request_id)
    return problems.respond(request, InternalError())
