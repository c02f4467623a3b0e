"""Sessions of the console: a random cookie, of which only the SHA-256 is stored, for a key.

Append-only: that a session was ended is a row of its own. A session works for SESSION_HOURS, and no
longer than its key does.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from streamflow.console.access.errors import SessionOver, SessionUnknown
from streamflow.keys.api_keys import Scope
from streamflow.keys.errors import KeyExpired, KeyRevoked
from streamflow.postgres.database import Database

SESSION_HOURS = 12
_TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Session:
    """Somebody who has signed in with a key; times are in UTC."""

    token: str
    key_id: int
    key_name: str
    scopes: frozenset[Scope]
    expires_at: datetime

    @property
    def who(self) -> str:
        """The name under which an act is recorded, as the commands record a key's."""
        return f"key {self.key_id} ({self.key_name})" if self.key_name else f"key {self.key_id}"


def new_token(token: Callable[[int], str] = secrets.token_urlsafe) -> str:
    """A new random cookie."""
    return token(_TOKEN_BYTES)


def is_token(text: str) -> bool:
    """Whether the text could be a cookie of the console."""
    return _TOKEN.fullmatch(text) is not None


def form_token(cookie: str) -> str:
    """What each form of the visitor with this cookie carries. It doesn't tell the cookie."""
    return hmac.new(cookie.encode(), b"a form of the console", hashlib.sha256).hexdigest()


def begin(database: Database, key_id: int, token: str, now: datetime) -> None:
    """Store that the session of the key begins at `now` (UTC)."""
    database.execute(
        "begin_console_session",
        session_hash=_hash(token),
        key_id=key_id,
        started_at=now,
        expires_at=now + timedelta(hours=SESSION_HOURS),
    )


def end(database: Database, token: str, now: datetime) -> None:
    """End the session; a second time nothing changes."""
    database.execute("end_console_session", session_hash=_hash(token), ended_at=now)


def find(database: Database, token: str, now: datetime) -> Session:
    """The session with this cookie.

    Raises SessionUnknown, SessionOver, KeyRevoked, KeyExpired, DatabaseUnavailable.
    """
    if not is_token(token):
        raise SessionUnknown
    found = database.rows("console_session", session_hash=_hash(token))
    if not found:
        raise SessionUnknown
    (row,) = found
    if row["revoked_at"] is not None:
        raise KeyRevoked(row["key_id"])
    if row["key_expires_at"] is not None and now >= row["key_expires_at"]:
        raise KeyExpired(row["key_id"])
    if row["ended_at"] is not None or now >= row["expires_at"]:
        raise SessionOver(row["key_id"])
    scopes = frozenset(Scope(scope) for scope in row["scopes"])
    return Session(token, row["key_id"], row["name"], scopes, row["expires_at"])


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
