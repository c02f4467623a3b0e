"""Which key may do what: keys in memory, looked up by their hash, each with a rate limit.

A request costs a look-up in a dictionary, and no query. The time of that look-up reveals nothing
about a key that is nearly right: hashes are compared, and nobody can choose a key by its hash.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from streamflow.errors import DatabaseUnavailable
from streamflow.keys.api_keys import PREFIX, SHORTEST_KEY, ApiKey, Scope, hash_key
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

# One of our keys, or a parameter by the names that others give to theirs.
_KEY_IN_QUERY = re.compile(
    rf"{PREFIX}|(?:^|&)(?:access_token|api[-_]?key|authorization|key|token)=", re.IGNORECASE
)
_MOST_HEADERS = 1024


@dataclass
class _TokenBucket:
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
class _KeyRecord:
    key: ApiKey
    bucket: _TokenBucket


@dataclass(frozen=True)
class _KeyTable:
    """Keys by their hash; and by the whole header, for those used since the last replacement."""

    by_hash: Mapping[bytes, _KeyRecord]
    by_header: dict[bytes, _KeyRecord]

    def find(self, header: bytes) -> _KeyRecord | None:
        """The record of the header's key, None if unknown. Raises KeyError if it has no key."""
        record = self.by_header.get(header)
        if record is not None:
            return record
        scheme, _, secret = header.partition(b" ")
        if scheme.lower() != b"bearer":
            raise KeyError(header)
        record = self.by_hash.get(hash_key(secret.strip()))
        if record is not None and len(self.by_header) < _MOST_HEADERS:
            self.by_header[header] = record
        return record


class Access:
    """Authorizes requests by the keys that `replace_keys` was given last.

    `authorize` belongs to one thread, `replace_keys` to any other. With `open_without_keys` (the
    API listens on loopback alone) predict and read need no key until the first one is created, but
    a host that is this machine's name: localhost, a loopback address or one of `host_names`.
    Otherwise a web page could read the API by DNS rebinding: its own name resolves to 127.0.0.1.
    Each key may make `requests_per_second` requests to this process.
    """

    def __init__(
        self,
        *,
        open_without_keys: bool,
        requests_per_second: float,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        host_names: Iterable[str] = (),
    ) -> None:
        self._open_without_keys = open_without_keys
        self._host_names = frozenset(name.strip().lower() for name in host_names if name.strip())
        self._known_hosts: set[bytes] = set()
        self._rate = requests_per_second
        self._now = now
        self._monotonic = monotonic
        self._table: _KeyTable | None = None

    def replace_keys(self, keys: Sequence[ApiKey]) -> None:
        """Use these keys from now on; a key in use already continues with its rate limit."""
        before = self._table.by_hash if self._table is not None else {}
        table = {}
        for key in keys:
            known = before.get(key.key_hash)
            full = _TokenBucket(max(1.0, self._rate), self._monotonic())
            table[key.key_hash] = _KeyRecord(key, known.bucket if known else full)
        self._table = _KeyTable(table, {})

    def authorize(
        self,
        needed: Scope | None,
        authorization: bytes | None,
        query: bytes = b"",
        host: bytes = b"",
    ) -> int | None:
        """The id of the key that authorizes the request, or None if none is needed.

        `authorization` and `host` are the request's headers of these names.

        Raises AccessRefused; DatabaseUnavailable if no key was ever read.
        """
        if query:
            self._reject_keys_in_query(query)
        if needed is None:
            return None
        table = self._table
        if table is None:
            raise DatabaseUnavailable(
                "The API's keys couldn't be read yet, so that no request can be authorized.",
                "See `streamflow status`; it's tried again by itself.",
            )
        if not table.by_hash and self._open_without_keys and needed is not Scope.PROMOTE:
            self._check_host(host)
            return None
        try:
            record = table.find(authorization or b"")
        except KeyError:
            raise KeyMissing(needed) from None
        if record is None:
            raise KeyUnknown()
        return self._checked(record, needed)

    def _check_host(self, host: bytes) -> None:
        if not host or host in self._known_hosts:
            return  # a browser always sends a host
        name = host_name(host.decode("latin-1"))
        if not is_loopback(name) and name not in self._host_names:
            raise HostUnknown(name)
        if len(self._known_hosts) < _MOST_HEADERS:
            self._known_hosts.add(host)

    def _checked(self, record: _KeyRecord, needed: Scope) -> int:
        key = record.key
        if key.revoked_at is not None:
            raise KeyRevoked(key.key_id)
        if key.expires_at is not None and self._now() >= key.expires_at:
            raise KeyExpired(key.key_id)
        if needed not in key.scopes:
            raise ScopeMissing(key.key_id, needed)
        wait = record.bucket.take(self._rate, self._monotonic())
        if wait:
            raise RateLimited(key.key_id, wait)
        return key.key_id

    def _reject_keys_in_query(self, query: bytes) -> None:
        """Proxies, browsers and logs store addresses: a key in an address isn't secret."""
        table = self._table.by_hash if self._table is not None else {}
        text = unquote(query.decode("latin-1"), "latin-1")
        # An address may have very many parts; short ones can't be a key.
        long = [part for part in text.split("&") if len(part) >= SHORTEST_KEY]
        values = (part.partition("=")[2] or part for part in long)
        found = [table.get(hash_key(value.encode("latin-1"))) for value in values]
        record = next(filter(None, found), None)
        if record is not None or _KEY_IN_QUERY.search(text):
            raise KeyInQuery(record.key.key_id if record is not None else None)


def host_name(host: str) -> str:
    """The name or address in a header Host, in lower case, without a port or brackets."""
    matched = re.fullmatch(r"(?:\[(?P<address>[^\]]*)\]|(?P<name>[^:]*))(?::\d*)?", host.strip())
    if matched is None:
        return host.lower()
    return (matched["address"] or matched["name"] or "").lower().removesuffix(".")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
