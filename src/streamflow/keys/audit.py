"""What the API refused, counted: attempts that are alike share a line.

The first of a kind is told within a second or so, the others after a minute, as one line with
their number. So a thousand wrong keys in a minute are two lines, and a day of them is no matter for
the disk.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

PAUSE_SECONDS = 60.0
# Kinds of attempts with a line of their own at a time. An attacker has many addresses.
MOST_KINDS = 50


@dataclass(frozen=True)
class Attempt:
    """`client` is the address that asked, `key_id` is of a key that is known. Never the key."""

    code: str
    route: str | None = None
    method: str | None = None
    client: str | None = None
    key_id: int | None = None


@dataclass(frozen=True)
class Refusals:
    attempt: Attempt
    first_at: datetime
    last_at: datetime
    attempts: int


class Audit:
    """`note` and `take` may be called from any thread."""

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
        self._counted: dict[Attempt, Refusals] = {}
        self._told: dict[Attempt, float] = {}

    def note(self, attempt: Attempt, moment: datetime) -> None:
        with self._lock:
            kinds = self._counted.keys() | self._told.keys()
            if attempt not in kinds and len(kinds) >= self._most_kinds:
                attempt = Attempt(attempt.code)
            before = self._counted.get(attempt)
            if before is None:
                self._counted[attempt] = Refusals(attempt, moment, moment, 1)
            else:
                counted = replace(before, last_at=moment, attempts=before.attempts + 1)
                self._counted[attempt] = counted

    def take(self, everything: bool = False) -> list[Refusals]:
        """What is to be told now; with `everything`, also what would have waited for more."""
        now = self._monotonic()
        with self._lock:
            self._told = {
                attempt: at for attempt, at in self._told.items() if now - at < self._pause_seconds
            }
            due = [one for one in self._counted if everything or one not in self._told]
            self._told.update(dict.fromkeys(due, now))
            return [self._counted.pop(attempt) for attempt in due]
