"""Keeps the API's keys as the database has them, and writes down whom it refused.

Neither is ever waited for by a request. While the database is away the keys that were known last
go on, and what was refused waits, up to a bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol

from streamflow import log
from streamflow.keys import api_keys
from streamflow.keys.access import Access
from streamflow.keys.api_keys import ApiKey
from streamflow.keys.audit import Audit, Refusals
from streamflow.polling import PollingThread
from streamflow.postgres.database import Database

# A key that is revoked is refused this much later at most, in all processes.
POLL_SECONDS = 1.0
_MOST_WAITING = 1_000


class KeyStore(Protocol):
    def known(self) -> list[ApiKey]: ...
    def record(self, refusals: Sequence[Refusals]) -> None:
        """All or none."""

    def close(self) -> None: ...


class DatabaseKeyStore:
    """Belongs to one thread, as does `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self) -> list[ApiKey]:
        return api_keys.known(self._database)

    def record(self, refusals: Sequence[Refusals]) -> None:
        with self._database.transaction():
            for one in refusals:
                self._database.execute(
                    "record_refusal",
                    first_at=one.first_at,
                    last_at=one.last_at,
                    attempts=one.attempts,
                    **asdict(one.attempt),
                )

    def close(self) -> None:
        self._database.close()


class Gatekeeper:
    """A thread that looks every `poll_seconds`."""

    def __init__(
        self, store: KeyStore, access: Access, audit: Audit, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._store = store
        self.access = access
        self.audit = audit
        self._waiting: deque[Refusals] = deque(maxlen=_MOST_WAITING)
        self._failing = False
        self._thread = PollingThread("gatekeeper", self._look, poll_seconds, self._finish)

    def start(self, patience_seconds: float) -> None:
        """Start looking, and wait for the first look to end, at most `patience_seconds`."""
        self._thread.start(patience_seconds)

    def stop(self, patience_seconds: float = 5.0) -> None:
        """Write what is left, and wait for that, at most `patience_seconds`."""
        self._thread.stop(patience_seconds)

    def _finish(self) -> None:
        self._look(last=True)
        self._store.close()

    def _look(self, last: bool = False) -> None:
        for refusals in self.audit.take(everything=last):
            log.warning("refused", attempts=refusals.attempts, **asdict(refusals.attempt))
            self._waiting.append(refusals)
        try:
            if not last:
                self.access.learn(self._store.known())
            if self._waiting:
                self._store.record(self._waiting)
                self._waiting.clear()
        except Exception as error:  # the next look may succeed; a dead thread never does
            if not self._failing:
                kind = type(error).__name__
                log.warning("keys_not_read", error=kind, lines=log.traceback_lines(error))
            self._failing = True
        else:
            if self._failing:
                log.info("keys_read_again")
            self._failing = False
