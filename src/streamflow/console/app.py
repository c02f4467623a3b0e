"""The console as an ASGI application: one route gives a page, a fragment of it, or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount
from starlette.routing import Route as StarletteRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Lifespan

from streamflow import log
from streamflow.console import guide, pages
from streamflow.console.access import requests, sessions
from streamflow.console.access.boundary import Boundary, body_of
from streamflow.console.access.errors import PageNotFound
from streamflow.console.access.visit import Visit
from streamflow.console.page import Answer, Content, Page, Redirect, Route
from streamflow.console.parts import ConsoleParts
from streamflow.console.problems import problem, status_of
from streamflow.console.rendering import rendered
from streamflow.console.texts import text
from streamflow.errors import AccessRefused, StreamFlowError
from streamflow.keys.api_keys import Scope

STARTED_SECONDS = 10.0
_SESSION_SECONDS = sessions.SESSION_HOURS * 3600
_YEAR_SECONDS = 365 * 86400


def create_app(parts: ConsoleParts) -> Boundary:
    """The console over these parts; the keys are read while its lifespan lasts."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        await run_in_threadpool(parts.keys.start, STARTED_SECONDS)
        yield
        await run_in_threadpool(parts.keys.stop)

    return Boundary(_starlette(parts, lifespan), parts)


def _starlette(parts: ConsoleParts, lifespan: Lifespan[Starlette]) -> Starlette:
    routes = [
        StarletteRoute(one.path, _endpoint(parts, one), methods=[one.method])
        for one in pages.ROUTES
    ]
    health = StarletteRoute("/health", _health)
    static = Mount("/static", StaticFiles(packages=[("streamflow.console", "static")]))

    documented = [Mount(guide.ADDRESS, guide.Guide(parts.guide))] if parts.guide else []

    async def not_found(request: Request, _: Exception) -> Response:
        return await run_in_threadpool(_failed, parts, request, None, PageNotFound())

    return Starlette(
        routes=[*routes, health, static, *documented],
        lifespan=lifespan,
        exception_handlers={HTTPException: not_found},
    )


async def _health(_: Request) -> Response:
    """Whether the process answers, for whoever supervises it; nothing is told but that."""
    return JSONResponse({"status": "ok"})


def _endpoint(parts: ConsoleParts, route: Route) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(_answered, parts, route, request)

    return endpoint


def _answered(parts: ConsoleParts, route: Route, request: Request) -> Response:
    visited = requests.visit(parts, request, body_of(request.scope))
    try:
        cookie = requests.session_cookie(request)
        if cookie is not None and route.path not in pages.WITHOUT_SESSION:
            found = sessions.find(parts.reading, cookie, visited.now)
            visited = replace(visited, session=found, cookie=found.token)
        requests.require(parts, visited, route, request)
        return _response(parts, request, visited, route.answer(parts, visited))
    except StreamFlowError as error:
        return _failed(parts, request, route, error, visited)
    except Exception as error:
        log.warning(
            "page_failed",
            route=route.path,
            error=type(error).__name__,
            lines=log.traceback_lines(error),
        )
        return _failed(parts, request, route, error, visited)


def _failed(
    parts: ConsoleParts,
    request: Request,
    route: Route | None,
    error: Exception,
    visited: Visit | None = None,
) -> Response:
    if visited is None:
        visited = requests.visit(parts, request, b"")
    drop: dict[str, str] = {}
    if isinstance(error, AccessRefused):
        requests.record_refusal(parts, request, route.path if route is not None else None, error)
        looked_up = route is not None and route.path not in pages.WITHOUT_SESSION
        if looked_up and visited.session is None and requests.session_cookie(request) is not None:
            # The cookie is worth nothing any more; the form to sign in needs another one.
            visited = replace(visited, cookie=sessions.new_token())
            drop[requests.SESSION_COOKIE] = ""
    page = problem(error, visited, status_of(error))
    return _response(parts, request, visited, page, drop)


def _response(
    parts: ConsoleParts,
    request: Request,
    visited: Visit,
    answer: Answer,
    cookies: Mapping[str, str] | None = None,
) -> Response:
    if isinstance(answer, Content):
        return _file(answer)
    as_json = _wants_json(request)
    made: Response
    if isinstance(answer, Redirect):
        made = RedirectResponse(answer.to, status_code=303)
        cookies = answer.cookies
    elif as_json:
        content = json.dumps(answer.document, default=str, allow_nan=False)
        made = Response(content, answer.status, media_type="application/json")
    else:
        values = {**answer.values, **_layout(parts, visited, answer)}
        in_place = request.headers.get("hx-request") == "true"
        # htmx puts in nothing of an answer with an error's status, and a page says it all.
        block = answer.fragment if in_place and answer.status < 400 else None
        made = Response(
            rendered(answer.template, values, block), answer.status, media_type="text/html"
        )
    secure = request.url.scheme == "https"
    for name, value in _all_cookies(visited, cookies or {}).items():
        if not value:
            made.delete_cookie(name, httponly=True, samesite="strict", secure=secure)
            continue
        lasts = _YEAR_SECONDS if name == requests.THEME_COOKIE else _SESSION_SECONDS
        made.set_cookie(name, value, lasts, httponly=True, samesite="strict", secure=secure)
    made.headers["Vary"] = "Accept, Cookie, HX-Request"
    return made


def _all_cookies(visited: Visit, given: Mapping[str, str]) -> Mapping[str, str]:
    """A visitor without a session has a cookie too, to which the tokens of its forms belong."""
    if visited.session is not None or given.get(requests.SESSION_COOKIE):
        return given
    return {requests.VISITOR_COOKIE: visited.cookie, **given}


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def _layout(parts: ConsoleParts, visited: Visit, page: Page) -> dict[str, Any]:
    """What every page has around its own content."""
    return {
        "title": page.title,
        "use_case": parts.use_case.name,
        "entities": parts.use_case.entity_table,
        "navigation": _navigation(parts, visited),
        "visit": visited,
        "may_promote": visited.may(Scope.PROMOTE),
        "may_predict": visited.may(Scope.PREDICT),
        "themes": requests.THEMES,
        "guide": f"{guide.ADDRESS}/" if parts.guide is not None else None,
    }


def _navigation(parts: ConsoleParts, visited: Visit) -> Sequence[tuple[str, str, bool]]:
    path = visited.address.partition("?")[0]
    return [
        (
            place,
            text(f"nav.{name}", entities=parts.use_case.entity_table.capitalize()),
            path == place or (place != "/" and path.startswith(f"{place}/")),
        )
        for name, place in pages.NAVIGATION
    ]


def _file(answer: Content) -> Response:
    made = Response(answer.content, media_type=answer.media_type)
    if answer.name is not None:
        made.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(answer.name)}"
    if answer.styled:
        made.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; "
            "base-uri 'none'; form-action 'none'"
        )
    return made
