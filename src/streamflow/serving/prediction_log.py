"""The prediction log: what was predicted, on its way into PostgreSQL.

The event loop puts rows into a queue; a thread writes them, twice a second. Small batches are
encoded at once: encoded they are small, and a thread that encodes much blocks the loop. While the
database is away they wait, up to a bound, beyond which the newest are dropped and counted. No
response ever waits for any of this.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from streamflow import log
from streamflow.polling import PollingThread
from streamflow.serving.prediction_log_rows import EncodedRows, Encoder, UnencodedRows

if TYPE_CHECKING:
    from streamflow.errors import NoAnswer
    from streamflow.serving.scoring import Prediction, ScoringRequest, Served

MAX_WAITING = 50_000
_MAX_WRITTEN_TOGETHER = 5_000
# Rows encoded without a pause: meanwhile no other thread of the process runs.
_ENCODED_TOGETHER = 64
_PAUSE_SECONDS = 0.5
_PAUSES_AFTER_FAILURE = 5


class Writer(Protocol):
    """Where rows are written; it belongs to the log's thread."""

    def prepare(self) -> None:
        """Called before the queue is read."""

    def write(self, batches: Sequence[EncodedRows]) -> None:
        """Write all or none. Raises ValueError for rows that can never be written."""

    def close(self) -> None:
        """Release what it holds."""


class Metrics(Protocol):
    """What is published about the log."""

    def record_log_added(self, rows: int) -> None:
        """Rows that are to be written or dropped."""

    def record_log_rows(self, written: int, dropped: int, waiting: int) -> None:
        """Rows written and dropped since the last call, and rows that wait now."""

    def record_log_seconds(self, seconds: float) -> None:
        """The time that rows written together took."""


class PredictionLog:
    """Belongs to one process, and `add` to one thread of it; another thread writes."""

    def __init__(
        self,
        writer: Writer,
        metrics: Metrics,
        *,
        max_waiting: int = MAX_WAITING,
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        self._writer = writer
        self._metrics = metrics
        self._encoder = Encoder()
        self._max_waiting = max_waiting
        self._pause_seconds = pause_seconds
        self._queue: deque[UnencodedRows | EncodedRows] = deque()
        self._pending: list[EncodedRows] = []  # taken out of the queue, and not written yet
        # Rows so far. Each is counted by one thread alone, so that none needs a lock.
        self._added = self._dropped = 0
        self._written = self._rejected = 0
        self._published = (0, 0)
        self._dropping = self._failing = False
        self._abandoned = threading.Event()
        self._thread = PollingThread("prediction-log", self._poll, pause_seconds, self._finish)

    @property
    def waiting(self) -> int:
        """Rows that were added and aren't written."""
        return self._added - self._written - self._rejected

    def add(
        self,
        served: Served,
        requests: Sequence[ScoringRequest],
        results: Sequence[Prediction | NoAnswer],
        moment: datetime,
    ) -> None:
        """Queue what `served` predicted at `moment` (UTC), if there is room for it."""
        self._metrics.record_log_added(len(results))
        if self.waiting + len(results) > self._max_waiting:
            self._dropped += len(results)
            return
        self._added += len(results)
        if len(results) <= _ENCODED_TOGETHER:
            self._queue.append(self._encoder.rows(served, requests, results, moment))
        else:
            self._queue.append(UnencodedRows(served, requests, results, moment))

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def close(self, patience_seconds: float = 5.0) -> None:
        """Write what waits, for at most `patience_seconds`; what is left then is lost."""
        self._thread.stop(patience_seconds)
        self._abandoned.set()
        if lost := self.waiting:
            log.warning("prediction_log_lost", rows=lost)

    def _poll(self) -> float:
        return self._pause_seconds * (1 if self._write_queue() else _PAUSES_AFTER_FAILURE)

    def _finish(self) -> None:
        while not self._write_queue() and not self._abandoned.wait(self._pause_seconds):
            pass
        self._writer.close()

    def _write_queue(self) -> bool:
        """Write all that is in the queue now; whether that succeeded."""
        succeeded = False
        # Not what comes meanwhile: under load, each write would be followed by another one of the
        # few rows that came during it, without a pause.
        left = len(self._queue)
        try:
            self._writer.prepare()
            while self._pending or left > 0:
                left -= self._write_some()
            succeeded = True
        except Exception as error:
            if not self._failing:
                lines, kind = log.traceback_lines(error), type(error).__name__
                log.warning("prediction_log_fails", error=kind, lines=lines)
        if succeeded and self._failing:
            log.info("prediction_log_writes_again")
        self._failing = not succeeded
        self._publish(succeeded)
        return succeeded

    def _write_some(self) -> int:
        """Write a part of the queue; how many of its entries were taken out."""
        entries = 0
        rows = sum(one.number for one in self._pending)
        while self._queue and rows < _MAX_WRITTEN_TOGETHER:
            taken = self._queue.popleft()
            entries += 1
            encoded = [taken] if isinstance(taken, EncodedRows) else list(self._encoded(taken))
            self._pending += encoded
            rows += sum(one.number for one in encoded)
        began = time.monotonic()
        try:
            self._writer.write(self._pending)
        except ValueError as error:
            log.failure("prediction_log_refused", error, rows=rows)
            self._rejected += rows
        else:
            self._written += rows
            self._metrics.record_log_seconds(time.monotonic() - began)
        self._pending = []
        return entries

    def _encoded(self, rows: UnencodedRows) -> Iterator[EncodedRows]:
        served, requests, results, moment = rows
        for start in range(0, len(results), _ENCODED_TOGETHER):
            part = slice(start, start + _ENCODED_TOGETHER)
            yield self._encoder.rows(served, requests[part], results[part], moment)
            time.sleep(0)

    def _publish(self, succeeded: bool) -> None:
        written, dropped = self._published
        self._published = self._written, self._dropped + self._rejected
        drops = self._published[1] - dropped
        self._metrics.record_log_rows(self._published[0] - written, drops, self.waiting)
        if drops and not self._dropping:
            log.warning("prediction_log_drops", waiting=self.waiting)
            self._dropping = True
        elif self._dropping and succeeded and not drops:
            log.info("prediction_log_drops_no_more", dropped=self._published[1])
            self._dropping = False
