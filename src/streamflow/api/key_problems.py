"""The HTTP statuses and headers of refused keys."""

from __future__ import annotations

import math
from collections.abc import Mapping

from streamflow.errors import AccessRefused, StreamFlowError
from streamflow.keys.errors import (
    HostUnknown,
    KeyExpired,
    KeyInQuery,
    KeyMissing,
    KeyRevoked,
    KeyUnknown,
    RateLimited,
    ScopeMissing,
)

STATUSES: Mapping[type[StreamFlowError], tuple[int, str]] = {
    KeyInQuery: (400, "Key in the address"),
    KeyMissing: (401, "Key missing"),
    KeyUnknown: (401, "Key unknown"),
    KeyRevoked: (401, "Key revoked"),
    KeyExpired: (401, "Key expired"),
    ScopeMissing: (403, "Scope missing"),
    HostUnknown: (421, "Host unknown"),
    RateLimited: (429, "Too many requests"),
}
KINDS = tuple(STATUSES)


def headers(error: StreamFlowError) -> dict[str, str]:
    """The headers that RFC 6750 and RFC 6585 ask for in the response to `error`."""
    if isinstance(error, RateLimited):
        return {"Retry-After": str(math.ceil(error.wait_seconds))}
    if not isinstance(error, AccessRefused) or isinstance(error, HostUnknown):
        return {}
    challenge = 'Bearer realm="streamflow"'
    if isinstance(error, ScopeMissing):
        challenge += f', error="insufficient_scope", scope="{error.needed.value}"'
    elif isinstance(error, KeyInQuery):
        challenge += ', error="invalid_request"'
    elif not isinstance(error, KeyMissing):
        challenge += ', error="invalid_token"'
    return {"WWW-Authenticate": challenge}
