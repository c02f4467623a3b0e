"""API keys: what they look like, and how they are made, kept and revoked.

A key is 256 bits of the system's randomness, and its SHA-256 is all that is kept. Slow hashes with
salt are for passwords, which people choose and others guess: nobody guesses 256 bits, and a fast
hash can be taken of every request's key.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from streamflow.errors import KeyNotFound, KeyRefused
from streamflow.postgres.database import Database

PREFIX = "streamflow_"  # so that whoever looks for secrets that leaked knows one when it's seen
_KEY_BYTES = 32
# What others drew may be shorter, as 128 bits in hexadecimal, but no word that somebody chose.
SHORTEST_KEY = 32
_GIVEN = re.compile(rf"[A-Za-z0-9_.~+/=-]{{{SHORTEST_KEY},256}}")


class Scope(StrEnum):
    PREDICT = "predict"
    READ = "read"
    PROMOTE = "promote"


@dataclass(frozen=True)
class ApiKey:
    """Times are in UTC. It works until `expires_at`, and until it's revoked."""

    key_id: int
    key_hash: bytes
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None

    def works(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def draw(token: Callable[[int], str] = secrets.token_urlsafe) -> str:
    return PREFIX + token(_KEY_BYTES)


def create(
    database: Database,
    key: str,
    scopes: Iterable[Scope],
    name: str,
    expires_at: datetime | None,
    who: str,
    now: datetime,
) -> ApiKey:
    """Let `key` in from now on, within some seconds; given the same again, it's there already.

    Raises KeyRefused for what is no random key, is revoked, or is there with other scopes.
    """
    if not _GIVEN.fullmatch(key):
        raise KeyRefused(
            "That is no key: 32 to 256 letters, digits and any of _.~+/=- are wanted.",
            "Let one be drawn: `streamflow keys create --scope predict`.",
        )
    wanted = frozenset(scopes)
    database.execute(
        "create_api_key",
        key_hash=digest(key.encode()),
        name=name,
        scopes=sorted(scope.value for scope in wanted),
        created_at=now,
        created_by=who,
        expires_at=expires_at,
    )
    made = next(one for one in known(database) if one.key_hash == digest(key.encode()))
    if made.scopes != wanted or not made.works(now):
        state = "is revoked or expired" if not made.works(now) else "has other scopes"
        raise KeyRefused(
            f"That key is there already, and {state}: key {made.key_id}.",
            "Take a new key; see `streamflow keys list`.",
        )
    return made


def known(database: Database) -> list[ApiKey]:
    """All that were ever made, oldest first."""
    return [
        ApiKey(**{**row, "scopes": frozenset(Scope(scope) for scope in row["scopes"])})
        for row in database.rows("api_keys")
    ]


def revoke(database: Database, key_id: int, who: str, now: datetime) -> ApiKey:
    """Let the key in no more, within some seconds; a second time nothing changes.

    Raises KeyNotFound.
    """
    with database.transaction():
        if all(one.key_id != key_id for one in known(database)):
            raise KeyNotFound(f"There is no key {key_id}.", "See `streamflow keys list`.")
        database.execute("revoke_api_key", key_id=key_id, revoked_at=now, revoked_by=who)
        return next(one for one in known(database) if one.key_id == key_id)
