"""What holds for every request: a key, an id, a largest size, a response, a line in the log.

Paths in `direct_handlers`, and those of scores, get their response without FastAPI, whose routing
and parsing take longer than a prediction. Requests to them that aren't valid go on to FastAPI,
which says what is wrong.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from itertools import chain
from secrets import token_hex
from urllib.parse import unquote

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope
from starlette.types import Send as AsgiSend

from streamflow import log
from streamflow.api import problems
from streamflow.api.handlers import DirectHandler
from streamflow.api.http_app import Client, Headers, HttpApp, Send
from streamflow.api.limits import BATCH_PATH, LARGEST_HEAD_BYTES, largest_body
from streamflow.api.request import FAULT_KEY, SCOPE_KEY, RequestRecord
from streamflow.api.request_errors import CONNECTION_ENDED, HeadTooLarge, MalformedRequest
from streamflow.api.routes.score_handler import PATH as SCORES_PATH
from streamflow.api.routes.score_handler import ScoreHandler
from streamflow.api.telemetry.recorder import METHODS, Recorder
from streamflow.errors import StreamFlowError
from streamflow.keys.access import Access
from streamflow.keys.api_keys import Scope as KeyScope
from streamflow.keys.audit import Audit, RejectedRequest

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")

# Paths without a key: a load balancer has none, and the documentation is about nobody's data.
OPEN = frozenset({"/health", "/ready", "/docs", "/docs/oauth2-redirect", "/openapi.json"})
_OPEN_FILES = "/static-offline-docs/"
_JSON = (b"content-type", b"application/json")
# Problems of an entity's data. They aren't attempts to get at something.
_DATA_PROBLEMS = frozenset(
    {
        *("departed", "missing_features", "stale_features", "unseen_category", "unseen_null"),
        *("not_scored", "no_scoring"),
    }
)


def needed(path: str) -> KeyScope | None:
    """The scope that a key must have for `path`, whether there is a route or not."""
    if path in ("/predict", BATCH_PATH):
        return KeyScope.PREDICT
    if path in OPEN or path.startswith(_OPEN_FILES):
        return None
    return KeyScope.READ


class RequestBoundary(HttpApp):
    """The outermost middleware, and what the HTTP protocols call beside ASGI."""

    def __init__(
        self,
        app: FastAPI,
        recorder: Recorder,
        direct_handlers: Mapping[str, DirectHandler],
        direct_scores: ScoreHandler,
        access: Access,
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self.app = app
        self.recorder = recorder
        self.direct_handlers = direct_handlers
        self.direct_scores = direct_scores
        self.access = access
        self.audit = audit
        self.now = now

    def begin(
        self, method: str, url: bytes, headers: Headers, client: Client
    ) -> RequestRecord | None:
        """Admit a POST or a GET whose head is complete; None if it must go through ASGI."""
        path = url.decode("latin-1")
        by_name = _by_name(headers)
        route = self._direct_route(method, path, by_name)
        if route is None:
            return None
        if "%" in path:
            path = unquote(path)
        record = _record(method, by_name, client)
        try:
            self._admit(record, path, b"", headers, by_name)
        except Exception:
            return None  # ASGI finds the same, and makes the response
        record.route, record.path = route, path
        return record

    def _direct_route(self, method: str, path: str, by_name: Mapping[bytes, bytes]) -> str | None:
        """The route of a request that has its response without ASGI."""
        if method == "GET":
            plain = path.startswith(SCORES_PATH) and path.isascii() and not {"?", "#"} & {*path}
            return self.direct_scores.route if plain else None
        media_type = by_name.get(b"content-type", b"").partition(b";")[0]
        is_json = media_type.strip().lower() == b"application/json"
        return path if path in self.direct_handlers and is_json else None

    def respond(self, record: RequestRecord, body: bytes, send: Send) -> bool:
        """Respond to what `begin` admitted; False if it must go through ASGI after all."""
        path = str(record.path)
        callback = partial(self._send, record, path, send)
        try:
            if record.method == "GET":
                return not body and self.direct_scores.direct(path, record, callback)
            return self.direct_handlers[path](body, record, callback)
        except Exception as error:
            callback(error)
            return True

    def refuse(self, error: StreamFlowError, client: Client, send: Send) -> None:
        """Respond to a request whose head is malformed, too large, or takes too long."""
        record = RequestRecord(token_hex(16), "other", client, time.perf_counter(), route="other")
        self._send(record, "/", send, error)

    def _send(
        self, record: RequestRecord, path: str, send: Send, result: bytes | Exception
    ) -> None:
        if isinstance(result, bytes):
            status, content = 200, result
            headers = [(b"content-length", str(len(result)).encode()), _JSON]
        else:
            problem = problems.response(record, path, result)
            status, content, headers = problem.status_code, bytes(problem.body), problem.raw_headers
        send(status, [*headers, (b"x-request-id", record.request_id.encode())], content)
        self._record_end(record, status)

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        admitted: RequestRecord | None = scope.get(SCOPE_KEY)
        by_name = _by_name(scope["headers"])
        record = admitted or _record(scope["method"], by_name, scope.get("client"))
        scope[SCOPE_KEY] = record
        status = 0  # until a response has begun
        received, complete = 0, False
        largest = largest_body(scope["path"])

        async def receive_limited() -> Message:
            nonlocal received, complete
            message = await receive()
            if FAULT_KEY in scope:
                raise HTTPException(400) from scope[FAULT_KEY]
            if message["type"] == "http.disconnect" and not complete:
                raise HTTPException(400) from MalformedRequest(CONNECTION_ENDED)
            complete = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > largest:
                raise HTTPException(413)
            return message

        def send_with_id(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", record.request_id.encode()))
            return send(message)

        try:
            refusal = None if admitted else self._refusal(scope, by_name, record)
            await (refusal or self.app)(scope, receive_limited, send_with_id)
        except Exception as error:
            if status:
                log.failure("request_failed", error, request_id=record.request_id)
                raise  # half a response is sent: the server can only close the connection
            await problems.respond(Request(scope), error)(scope, receive, send_with_id)
        finally:
            # A path may hold an id, and there is no end of them: only a template may be a label.
            unnamed = "unmatched" if status == 404 else "other"
            route = str(getattr(scope.get("route"), "path_format", unnamed))
            record.route = record.route or route
            self._record_end(record, status)

    def _refusal(
        self, scope: Scope, by_name: Mapping[bytes, bytes], record: RequestRecord
    ) -> JSONResponse | None:
        """The response to a request that isn't admitted; None if it is."""
        try:
            self._admit(record, scope["path"], scope["query_string"], scope["headers"], by_name)
        except StreamFlowError as error:
            matching = (one for one in self.app.routes if one.matches(scope)[0] is not Match.NONE)
            record.route = getattr(next(matching, None), "path_format", None)
            record.key_id = getattr(error, "key_id", None)
            return problems.respond(Request(scope), error)
        return None

    def _admit(
        self,
        record: RequestRecord,
        path: str,
        query: bytes,
        headers: Headers,
        by_name: Mapping[bytes, bytes],
    ) -> None:
        """Raises AccessRefused, DatabaseUnavailable, HeadTooLarge."""
        if len(path) + len(query) + sum(map(len, chain(*headers))) > LARGEST_HEAD_BYTES:
            raise HeadTooLarge()
        record.key_id = self.access.authorize(
            needed(path), by_name.get(b"authorization"), query, by_name.get(b"host", b"")
        )

    def _record_end(self, record: RequestRecord, status: int) -> None:
        if 400 <= status < 500:
            self._record_rejection(record)
        self.recorder.record_request(record, status, time.perf_counter() - record.arrived)

    def _record_rejection(self, record: RequestRecord) -> None:
        if record.problem is not None and record.problem not in _DATA_PROBLEMS:
            method = record.method if record.method in METHODS else "other"
            address = record.client[0] if record.client else None
            route = str(record.route)
            rejected = RejectedRequest(record.problem, route, method, address, record.key_id)
            self.audit.add(rejected, self.now())


class UnexpectedErrors:
    """The innermost middleware: a problem document for an error that FastAPI has no handler of.

    FastAPI's own response to it would be plain text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        started = False

        async def send_observed(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_observed)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            await problems.respond(Request(scope), error)(scope, receive, send)


def _by_name(headers: Headers) -> dict[bytes, bytes]:
    return dict(reversed(headers))  # the first of a name counts


def _record(method: str, by_name: Mapping[bytes, bytes], client: Client) -> RequestRecord:
    given_id = by_name.get(b"x-request-id", b"").decode("latin-1")
    request_id = given_id if REQUEST_ID.fullmatch(given_id) else token_hex(16)
    return RequestRecord(
        request_id, method, client, time.perf_counter(), by_name.get(b"traceparent")
    )
