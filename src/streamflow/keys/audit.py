"""Requests that the API rejected, counted: those that are alike share an entry.

The first of a kind is recorded within a second or so, the others after a minute, as one entry with
their number. A thousand wrong keys in a minute are two entries, and a day of them is little data.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

PAUSE_SECONDS = 60.0
# Kinds of requests with an entry of their own at a time. An attacker has many addresses.
MOST_KINDS = 50


@dataclass(frozen=True)
class RejectedRequest:
    """A rejected request: `client` is its address, `key_id` that of a known key. Never the key."""

    code: str
    route: str | None = None
    method: str | None = None
    client: str | None = None
    key_id: int | None = None


@dataclass(frozen=True)
class AuditEntry:
    """Rejected requests that are alike: how many, the first and the last (UTC)."""

    request: RejectedRequest
    first_at: datetime
    last_at: datetime
    attempts: int


class Audit:
    """Counts rejected requests; any thread may call it."""

    def __init__(
        self,
        *,
        pause_seconds: float = PAUSE_SECONDS,
        most_kinds: int = MOST_KINDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pause_seconds = pause_seconds
        self._most_kinds = most_kinds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._counted: dict[RejectedRequest, AuditEntry] = {}
        self._recorded_at: dict[RejectedRequest, float] = {}

    def add(self, request: RejectedRequest, moment: datetime) -> None:
        """Count a rejected request at `moment` (UTC)."""
        with self._lock:
            kinds = self._counted.keys() | self._recorded_at.keys()
            if request not in kinds and len(kinds) >= self._most_kinds:
                request = RejectedRequest(request.code)
            before = self._counted.get(request)
            if before is None:
                self._counted[request] = AuditEntry(request, moment, moment, 1)
            else:
                counted = replace(before, last_at=moment, attempts=before.attempts + 1)
                self._counted[request] = counted

    def due(self, everything: bool = False) -> list[AuditEntry]:
        """Take out the entries to record now; with `everything`, also those that would wait."""
        now = self._monotonic()
        with self._lock:
            self._recorded_at = {
                request: at
                for request, at in self._recorded_at.items()
                if now - at < self._pause_seconds
            }
            due = [one for one in self._counted if everything or one not in self._recorded_at]
            self._recorded_at.update(dict.fromkeys(due, now))
            return [self._counted.pop(request) for request in due]
