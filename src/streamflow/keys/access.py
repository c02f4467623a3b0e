"""Who may ask the API for what: keys in memory, looked up by their hash, and their allowances.

A key costs a request a look into a dictionary, and never a question to the database. By its time
that tells nothing of a key that is nearly right: what is compared are hashes, and nobody can choose
a key by its hash.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from streamflow.errors import DatabaseUnavailable
from streamflow.keys.api_keys import PREFIX, SHORTEST_KEY, ApiKey, Scope, digest
from streamflow.keys.errors import (
    KeyExpired,
    KeyInQuery,
    KeyMissing,
    KeyRevoked,
    KeyUnknown,
    RateLimited,
    ScopeMissing,
)

# A key of ours, or a parameter as others name theirs.
_KEY_IN_QUERY = re.compile(
    rf"{PREFIX}|(?:^|&)(?:access_token|api[-_]?key|authorization|key|token)=", re.IGNORECASE
)
_MOST_HEADERS = 1024


@dataclass
class _Allowance:
    """A token bucket: it holds one second's requests, and fills again as they are used."""

    left: float
    at: float

    def take(self, rate: float, now: float) -> float:
        """Take one request out; if none is left, the seconds until there is one."""
        most = max(1.0, rate)
        self.left = min(most, self.left + (now - self.at) * rate)
        self.at = now
        if self.left < 1.0:
            return (1.0 - self.left) / rate
        self.left -= 1.0
        return 0.0


@dataclass(frozen=True)
class _Holder:
    key: ApiKey
    allowance: _Allowance


@dataclass(frozen=True)
class _Holders:
    """By a key's hash; and by the whole header, for keys that were sent since the last look."""

    by_hash: Mapping[bytes, _Holder]
    by_header: dict[bytes, _Holder]

    def of(self, header: bytes) -> _Holder | None:
        """Raises KeyError if the header holds no key."""
        holder = self.by_header.get(header)
        if holder is not None:
            return holder
        scheme, _, secret = header.partition(b" ")
        if scheme.lower() != b"bearer":
            raise KeyError(header)
        holder = self.by_hash.get(digest(secret.strip()))
        if holder is not None and len(self.by_header) < _MOST_HEADERS:
            self.by_header[header] = holder
        return holder


class Access:
    """What `learn` was told last holds. `admit` belongs to one thread, `learn` to any other.

    With `open_without_keys` (the API listens on loopback alone) everybody may predict and read
    until the first key is made. Each key may ask `requests_per_second` times of this process.
    """

    def __init__(
        self,
        *,
        open_without_keys: bool,
        requests_per_second: float,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_without_keys = open_without_keys
        self._rate = requests_per_second
        self._now = now
        self._monotonic = monotonic
        self._holders: _Holders | None = None

    def learn(self, keys: Sequence[ApiKey]) -> None:
        before = self._holders.by_hash if self._holders is not None else {}
        holders = {}
        for key in keys:
            held = before.get(key.key_hash)
            full = _Allowance(max(1.0, self._rate), self._monotonic())
            holders[key.key_hash] = _Holder(key, held.allowance if held else full)
        self._holders = _Holders(holders, {})

    def admit(
        self, needed: Scope | None, authorization: bytes | None, query: bytes = b""
    ) -> int | None:
        """The id of the key that may do this, or None if none is needed.

        Raises AccessRefused; DatabaseUnavailable if no key was ever read.
        """
        if query:
            self._look_for_keys(query)
        if needed is None:
            return None
        holders = self._holders
        if holders is None:
            raise DatabaseUnavailable(
                "Who may ask isn't known yet: the API's keys couldn't be read.",
                "See `streamflow status`; it's tried again by itself.",
            )
        if not holders.by_hash and self._open_without_keys and needed is not Scope.PROMOTE:
            return None
        try:
            holder = holders.of(authorization or b"")
        except KeyError:
            raise KeyMissing(needed) from None
        if holder is None:
            raise KeyUnknown()
        return self._checked(holder, needed)

    def _checked(self, holder: _Holder, needed: Scope) -> int:
        key = holder.key
        if key.revoked_at is not None:
            raise KeyRevoked(key.key_id)
        if key.expires_at is not None and self._now() >= key.expires_at:
            raise KeyExpired(key.key_id)
        if needed not in key.scopes:
            raise ScopeMissing(key.key_id, needed)
        wait = holder.allowance.take(self._rate, self._monotonic())
        if wait:
            raise RateLimited(key.key_id, wait)
        return key.key_id

    def _look_for_keys(self, query: bytes) -> None:
        """An address is written down by proxies, browsers and logs: a key in it isn't secret."""
        holders = self._holders.by_hash if self._holders is not None else {}
        text = unquote(query.decode("latin-1"), "latin-1")
        # An address may have very many parts, and a key is none of the short ones.
        long = [part for part in text.split("&") if len(part) >= SHORTEST_KEY]
        values = (part.partition("=")[2] or part for part in long)
        found = [holders.get(digest(value.encode("latin-1"))) for value in values]
        holder = next(filter(None, found), None)
        if holder is not None or _KEY_IN_QUERY.search(text):
            raise KeyInQuery(holder.key.key_id if holder is not None else None)


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
