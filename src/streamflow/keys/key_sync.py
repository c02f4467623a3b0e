"""Reads the API's keys from the database, and writes the audit of rejected requests into it.

No request ever waits for either. While the database is down the last known keys stay valid, and
audit entries wait, up to a bound.
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
from streamflow.keys.audit import Audit, AuditEntry
from streamflow.polling import PollingThread
from streamflow.postgres.database import Database

# A key that is revoked is refused this much later at most, in all processes.
POLL_SECONDS = 1.0
_MOST_WAITING = 1_000


class KeyStore(Protocol):
    """Where keys and the audit are stored."""

    def all_keys(self) -> list[ApiKey]:
        """All keys that were ever created."""

    def record(self, entries: Sequence[AuditEntry]) -> None:
        """Write all or none."""

    def close(self) -> None:
        """Release what it holds."""


class DatabaseKeyStore:
    """Keys and the audit in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all_keys(self) -> list[ApiKey]:
        """All keys that were ever created."""
        return api_keys.all_keys(self._database)

    def record(self, entries: Sequence[AuditEntry]) -> None:
        """Write all or none."""
        with self._database.transaction():
            for one in entries:
                self._database.execute(
                    "record_refusal",
                    first_at=one.first_at,
                    last_at=one.last_at,
                    attempts=one.attempts,
                    **asdict(one.request),
                )

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


class KeySync:
    """A thread that reads keys and writes the audit every `poll_seconds`."""

    def __init__(
        self, store: KeyStore, access: Access, audit: Audit, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._store = store
        self.access = access
        self.audit = audit
        self._waiting: deque[AuditEntry] = deque(maxlen=_MOST_WAITING)
        self._failing = False
        self._thread = PollingThread("gatekeeper", self._poll, poll_seconds, self._finish)

    def start(self, patience_seconds: float) -> None:
        """Start polling; wait for the first poll to end, at most `patience_seconds`."""
        self._thread.start(patience_seconds)

    def stop(self, patience_seconds: float = 5.0) -> None:
        """Write what is left; wait for that, at most `patience_seconds`."""
        self._thread.stop(patience_seconds)

    def _finish(self) -> None:
        self._poll(last=True)
        self._store.close()

    def _poll(self, last: bool = False) -> None:
        for entry in self.audit.due(everything=last):
            log.warning("refused", attempts=entry.attempts, **asdict(entry.request))
            self._waiting.append(entry)
        try:
            if not last:
                self.access.replace_keys(self._store.all_keys())
            if self._waiting:
                self._store.record(self._waiting)
                self._waiting.clear()
        except Exception as error:  # the next poll may succeed
            if not self._failing:
                kind = type(error).__name__
                log.warning("keys_not_read", error=kind, lines=log.traceback_lines(error))
            self._failing = True
        else:
            if self._failing:
                log.info("keys_read_again")
            self._failing = False
