"""Signing in with a key, signing out, and the choice of light or dark."""

from __future__ import annotations

from streamflow.console.access import requests, sessions
from streamflow.console.access.visit import Visit
from streamflow.console.page import Page, Redirect
from streamflow.console.parts import ConsoleParts
from streamflow.console.texts import text
from streamflow.keys import api_keys
from streamflow.keys.api_keys import Scope, hash_key
from streamflow.keys.errors import KeyExpired, KeyMissing, KeyRevoked, KeyUnknown

FIELD = "key"


def form(parts: ConsoleParts, visit: Visit) -> Page:
    """The form for a key."""
    return Page(
        "sign_in.html",
        text("sign_in.title"),
        {"back": local(visit.query.get("back", "/")), "open": requests.open_to_all(parts)},
        {"sign_in": "POST the form with a key"},
    )


def sign_in(parts: ConsoleParts, visit: Visit) -> Redirect:
    """Begin a session. Raises KeyUnknown, KeyRevoked, KeyExpired, KeyMissing."""
    given = visit.form.get(FIELD, "").strip()
    if not given:
        raise KeyMissing(Scope.READ)
    hashed = hash_key(given.encode("utf-8", "replace"))
    found = [one for one in api_keys.all_keys(parts.platform.database) if one.key_hash == hashed]
    if not found:
        raise KeyUnknown
    (key,) = found
    if key.revoked_at is not None:
        raise KeyRevoked(key.key_id)
    if not key.works(visit.now):
        raise KeyExpired(key.key_id)
    token = sessions.new_token()
    sessions.begin(parts.platform.database, key.key_id, token, visit.now)
    cookies = {requests.SESSION_COOKIE: token, requests.VISITOR_COOKIE: ""}
    return Redirect(local(visit.form.get("back", "/")), cookies)


def sign_out(parts: ConsoleParts, visit: Visit) -> Redirect:
    """End the session."""
    if visit.session is not None:
        sessions.end(parts.platform.database, visit.session.token, visit.now)
    return Redirect("/", {requests.SESSION_COOKIE: ""})


def theme(_: ConsoleParts, visit: Visit) -> Redirect:
    """Light, dark, or as the system has it."""
    chosen = visit.form.get("theme", "")
    wanted = chosen if chosen in requests.THEMES else ""
    return Redirect(local(visit.form.get("back", "/")), {requests.THEME_COOKIE: wanted})


def local(address: str) -> str:
    """The address if it is one of the console's own pages, else the overview's."""
    fine = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if fine and address.isprintable() and "\\" not in address else "/"
