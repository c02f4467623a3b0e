"""What holds for every request: an id, a largest body, always an answer, a line in the log.

A part of `streamflow.api`. Addresses in `direct` are answered here, ahead of FastAPI, whose routing
and parsing cost more than a prediction; whatever isn't a plain valid request goes on to FastAPI,
which says what is wrong with it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamflow import problems, telemetry
from streamflow.errors import StreamFlowError
from streamflow.problems import Exchange, InternalError
from streamflow.telemetry import Telemetry

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")

# Given a body, the answer's; or None if FastAPI is to look at it.
Direct = Callable[[bytes, Exchange], Awaitable[bytes | None]]


class RequestBoundary:
    def __init__(self, app: ASGIApp, metrics: Telemetry, direct: Mapping[str, Direct]) -> None:
        self.app = app
        self.metrics = metrics
        self.direct = direct

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        arrived = time.perf_counter()
        headers = dict(reversed(scope["headers"]))  # the first of a name counts
        given_id = headers.get(b"x-request-id", b"").decode("latin-1")
        exchange = Exchange(given_id if REQUEST_ID.fullmatch(given_id) else uuid4().hex)
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

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", exchange.request_id.encode()))
            await send(message)

        try:
            direct = self.direct.get(scope["path"]) if scope["method"] == "POST" else None
            if direct is not None and headers.get(b"content-type") == b"application/json":
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
            self.metrics.request_answered(
                request_id=exchange.request_id,
                route=route,
                method=scope["method"],
                status=status,
                seconds=time.perf_counter() - arrived,
                model_version=exchange.model_version,
                problem=exchange.problem,
            )

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
