"""API keys: what they look like, and how they are created, stored and revoked.

A key is 256 bits of the system's randomness, and only its SHA-256 is stored. Slow hashes with salt
are for passwords, which people choose and others guess: 256 random bits can't be guessed, and a
fast hash can be computed for every request.
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

PREFIX = "streamflow_"  # so that scanners for leaked secrets recognize one
_KEY_BYTES = 32
# A key that another tool made may be shorter, as 128 bits in hexadecimal, but not a chosen word.
SHORTEST_KEY = 32
_KEY_PATTERN = re.compile(rf"[A-Za-z0-9_.~+/=-]{{{SHORTEST_KEY},256}}")


class Scope(StrEnum):
    """What a key may do."""

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
        """Whether it is neither revoked nor expired at `now` (UTC)."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def hash_key(key: bytes) -> bytes:
    """The SHA-256 of a key, the only thing that is stored of it."""
    return hashlib.sha256(key).digest()


def new_key(token: Callable[[int], str] = secrets.token_urlsafe) -> str:
    """A new random key."""
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
    """Accept `key` from now on, within some seconds; a second time nothing changes.

    Raises KeyRefused for what is no random key, is revoked, or exists with other scopes.
    """
    if not _KEY_PATTERN.fullmatch(key):
        raise KeyRefused(
            "That is no key: 32 to 256 letters, digits and any of _.~+/=- are wanted.",
            "Let one be drawn: `streamflow keys create --scope predict`.",
        )
    wanted = frozenset(scopes)
    database.execute(
        "create_api_key",
        key_hash=hash_key(key.encode()),
        name=name,
        scopes=sorted(scope.value for scope in wanted),
        created_at=now,
        created_by=who,
        expires_at=expires_at,
    )
    stored = next(one for one in all_keys(database) if one.key_hash == hash_key(key.encode()))
    if stored.scopes != wanted or not stored.works(now):
        state = "is revoked or expired" if not stored.works(now) else "has other scopes"
        raise KeyRefused(
            f"That key exists already, and {state}: key {stored.key_id}.",
            "Take a new key; see `streamflow keys list`.",
        )
    return stored


def all_keys(database: Database) -> list[ApiKey]:
    """All keys that were ever created, oldest first."""
    return [
        ApiKey(**{**row, "scopes": frozenset(Scope(scope) for scope in row["scopes"])})
        for row in database.rows("api_keys")
    ]


def revoke(database: Database, key_id: int, who: str, now: datetime) -> ApiKey:
    """Reject the key from now on, within some seconds; a second time nothing changes.

    Raises KeyNotFound.
    """
    with database.transaction():
        if all(one.key_id != key_id for one in all_keys(database)):
            raise KeyNotFound(f"There is no key {key_id}.", "See `streamflow keys list`.")
        database.execute("revoke_api_key", key_id=key_id, revoked_at=now, revoked_by=who)
        return next(one for one in all_keys(database) if one.key_id == key_id)
