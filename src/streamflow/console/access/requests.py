"""From a request to a visit; what speaks against it, and the audit of what was refused."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl

from starlette.requests import Request

from streamflow.console.access import sessions
from streamflow.console.access.errors import FormRefused
from streamflow.console.access.visit import Visit
from streamflow.console.page import Route
from streamflow.console.parts import ConsoleParts
from streamflow.errors import AccessRefused
from streamflow.keys.access import host_name, is_loopback
from streamflow.keys.api_keys import Scope
from streamflow.keys.audit import RejectedRequest
from streamflow.keys.errors import KeyMissing, ScopeMissing

SESSION_COOKIE, VISITOR_COOKIE, THEME_COOKIE = (
    "streamflow_console",
    "streamflow_visitor",
    "streamflow_theme",
)
THEMES = ("light", "dark")
TOKEN_FIELD = "form_token"
_MOST_FIELDS = 200


def is_own_host(parts: ConsoleParts, header: str) -> bool:
    """Whether the header Host names the console.

    A web page can let its own name resolve to an address of this machine. So a name must be known;
    an address can't be made to mean another one.
    """
    name = host_name(header)
    if is_loopback(name) or name in (parts.host.lower(), *parts.host_names):
        return bool(name)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return not is_loopback(parts.host)


def visit(parts: ConsoleParts, request: Request, form: bytes) -> Visit:
    """The request without its session, which `signed_in` looks up."""
    cookies = _cookies(request)
    cookie = cookies.get(SESSION_COOKIE) or cookies.get(VISITOR_COOKIE, "")
    theme = cookies.get(THEME_COOKIE, "")
    query = request.url.query
    return Visit(
        now=parts.now(),
        address=request.url.path + (f"?{query}" if query else ""),
        cookie=cookie if sessions.is_token(cookie) else sessions.new_token(),
        query=_first(query),
        form=_first(form.decode("utf-8", "replace")),
        path={name: str(value) for name, value in request.path_params.items()},
        theme=theme if theme in THEMES else "",
    )


def session_cookie(request: Request) -> str | None:
    """The cookie of a session that the request has, whether there is such a session or not."""
    return _cookies(request).get(SESSION_COOKIE)


def require(parts: ConsoleParts, visited: Visit, route: Route, request: Request) -> None:
    """Raise what speaks against the visit: KeyMissing, ScopeMissing, FormRefused and others of
    `AccessRefused`; DatabaseUnavailable if it can't be told."""
    session = visited.session
    if route.method == "POST":
        given = visited.form.get(TOKEN_FIELD, "")
        if not hmac.compare_digest(given.encode(), visited.form_token.encode()):
            raise FormRefused(session.key_id if session is not None else None)
    if route.scope is None:
        return
    if session is not None:
        if route.scope not in session.scopes:
            raise ScopeMissing(session.key_id, route.scope)
        return
    if route.method != "GET":
        raise KeyMissing(route.scope)
    authorization = request.headers.get("authorization")
    parts.keys.access.authorize(
        route.scope,
        authorization.encode("latin-1") if authorization is not None else None,
        request.url.query.encode("latin-1", "replace"),
    )


def open_to_all(parts: ConsoleParts) -> bool:
    """Whether anybody may read: no key is there, and only this machine reaches the console."""
    try:
        parts.keys.access.authorize(Scope.READ, None)
    except Exception:
        return False
    return True


def record_refusal(
    parts: ConsoleParts, request: Request, route: str | None, refused: AccessRefused
) -> None:
    """Count it in the audit, as the API does. `route` has no id in it."""
    client = request.client.host if request.client is not None else None
    rejected = RejectedRequest(
        refused.code,
        f"console {route}" if route else "console",
        request.method,
        client,
        refused.key_id,
    )
    parts.keys.audit.add(rejected, parts.now())


def _first(encoded: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return {}
    return dict(reversed(pairs))


def _cookies(request: Request) -> Mapping[str, str]:
    found: SimpleCookie = SimpleCookie()
    try:
        found.load(request.headers.get("cookie", ""))
    except CookieError:
        return {}
    return {name: one.value for name, one in found.items()}
