"""Whom the API doesn't let in, and why: a problem for each reason, with its HTTP status."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastapi import Security
from fastapi.security import HTTPBearer

from streamflow.errors import AccessRefused, StreamFlowError
from streamflow.keys.api_keys import Scope

_NEW_KEY = "Have one made: `streamflow keys create --scope {}`."


class KeyMissing(AccessRefused):
    def __init__(self, needed: Scope) -> None:
        super().__init__(
            f"This needs a key with the scope {needed.value!r}, "
            "sent as `Authorization: Bearer KEY`.",
            _NEW_KEY.format(needed.value),
        )


class KeyUnknown(AccessRefused):
    def __init__(self) -> None:
        super().__init__(
            "Nobody was given this key.", "See that it is sent whole; or have another one made."
        )


class KeyRevoked(AccessRefused):
    def __init__(self, key_id: int) -> None:
        self.key_id = key_id
        super().__init__(f"Key {key_id} was revoked.", "Have another one made.")


class KeyExpired(AccessRefused):
    def __init__(self, key_id: int) -> None:
        self.key_id = key_id
        super().__init__(f"Key {key_id} has expired.", "Have another one made.")


class KeyInQuery(AccessRefused):
    def __init__(self, key_id: int | None) -> None:
        self.key_id = key_id
        super().__init__(
            "A key in an address isn't secret: proxies, browsers and logs write addresses down.",
            "Send it as `Authorization: Bearer KEY`, and a new one: `streamflow keys revoke` ends "
            "what was sent.",
        )


class ScopeMissing(AccessRefused):
    def __init__(self, key_id: int, needed: Scope) -> None:
        self.key_id = key_id
        self.needed = needed
        super().__init__(
            f"Key {key_id} hasn't the scope {needed.value!r}.", _NEW_KEY.format(needed.value)
        )


class RateLimited(AccessRefused):
    def __init__(self, key_id: int, wait_seconds: float) -> None:
        self.key_id = key_id
        self.wait_seconds = wait_seconds
        super().__init__(
            f"Key {key_id} asks more often than it may.",
            "Ask again in a moment, or for up to 1,000 ids at once; "
            "STREAMFLOW_API_KEY_RATE is how often.",
        )


STATUSES: Mapping[type[StreamFlowError], tuple[int, str]] = {
    KeyInQuery: (400, "Key in the address"),
    KeyMissing: (401, "Key missing"),
    KeyUnknown: (401, "Key unknown"),
    KeyRevoked: (401, "Key revoked"),
    KeyExpired: (401, "Key expired"),
    ScopeMissing: (403, "Scope missing"),
    RateLimited: (429, "Too many requests"),
}
KINDS = tuple(STATUSES)

_BEARER = HTTPBearer(
    scheme_name="key",
    description="A key from `streamflow keys create`. An API that listens on this machine alone "
    "wants none until the first one is made.",
    auto_error=False,
)


def asking_for(scope: Scope) -> list[Any]:
    """What has a route documented as one that needs a key; `boundary` is who looks at it."""
    return [Security(_BEARER, scopes=[scope.value])]


def headers(error: StreamFlowError) -> dict[str, str]:
    """What RFC 6750 and RFC 6585 have an answer tell beside its body."""
    if isinstance(error, RateLimited):
        return {"Retry-After": str(math.ceil(error.wait_seconds))}
    if not isinstance(error, AccessRefused):
        return {}
    challenge = 'Bearer realm="streamflow"'
    if isinstance(error, ScopeMissing):
        challenge += f', error="insufficient_scope", scope="{error.needed.value}"'
    elif isinstance(error, KeyInQuery):
        challenge += ', error="invalid_request"'
    elif not isinstance(error, KeyMissing):
        challenge += ', error="invalid_token"'
    return {"WWW-Authenticate": challenge}
