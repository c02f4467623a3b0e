"""What holds for every request: its host, its size, and the headers of its response."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamflow.console.access import requests
from streamflow.console.access.errors import ForeignHost, FormTooLarge
from streamflow.console.parts import ConsoleParts
from streamflow.errors import AccessRefused

MOST_BODY_BYTES = 64 * 1024
_BODY = "streamflow.console.body"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Boundary:
    """An ASGI application around the console's."""

    def __init__(self, app: ASGIApp, parts: ConsoleParts) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        request = Request(scope)
        host = request.headers.get("host", "")
        if not requests.is_own_host(self._parts, host):
            await self._refuse(request, ForeignHost(host), 421, receive, with_headers)
            return
        body = await _body(request, receive)
        if body is None:
            await self._refuse(request, FormTooLarge(MOST_BODY_BYTES), 413, receive, with_headers)
            return
        scope[_BODY] = body
        await self._app(scope, receive, with_headers)

    async def _refuse(
        self, request: Request, error: AccessRefused, status: int, receive: Receive, send: Send
    ) -> None:
        requests.record_refusal(self._parts, request, None, error)
        refusal = PlainTextResponse(f"{error.message}\n{error.next}\n", status)
        refusal.headers["Connection"] = "close"
        await refusal(request.scope, receive, send)


def body_of(scope: MutableMapping[str, Any]) -> bytes:
    """The body of the request, which was read before."""
    body: bytes = scope[_BODY]
    return body


async def _body(request: Request, receive: Receive) -> bytes | None:
    """All of the request's body; None if it's too large, of which no more is read."""
    told = request.headers.get("content-length", "")
    if told.isdigit() and (len(told) > 12 or int(told) > MOST_BODY_BYTES):
        return None
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)
