"""The prediction log: what was answered, on its way into PostgreSQL.

The event loop leaves rows in a queue; a thread writes them, twice a second. Few are encoded at
once: so they are small, and a thread that has much to do keeps the loop from running.
While the database is away they wait, up to a bound, beyond which the newest are dropped and
counted. No answer ever waits for any of this.
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
from streamflow.serving.prediction_log_rows import Answered, Encoder, Rows

if TYPE_CHECKING:
    from streamflow.errors import NoAnswer
    from streamflow.serving.scoring import Prediction, Question, Served

MOST_WAITING = 50_000
_MOST_TOGETHER = 5_000
# Rows encoded at a stretch: for so long, no other thread of the process runs.
_STRETCH = 64
_PAUSE_SECONDS = 0.5
_PAUSES_AFTER_FAILURE = 5


class Writer(Protocol):
    def prepare(self) -> None:
        """Called before each look into the queue."""

    def write(self, batches: Sequence[Rows]) -> None:
        """All or none. Raises ValueError for what can't ever be written."""

    def close(self) -> None: ...


class Metrics(Protocol):
    def logged(self, written: int, dropped: int, waiting: int) -> None:
        """Rows written and dropped since the last call, and rows that wait now."""

    def log_took(self, seconds: float) -> None:
        """So long took rows that were written together."""


class PredictionLog:
    """Belongs to one process, and `put` to one thread of it; another one writes."""

    def __init__(
        self,
        writer: Writer,
        metrics: Metrics,
        *,
        most_waiting: int = MOST_WAITING,
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        self._writer = writer
        self._metrics = metrics
        self._encoder = Encoder()
        self._most_waiting = most_waiting
        self._pause_seconds = pause_seconds
        self._queue: deque[Answered | Rows] = deque()
        self._held: list[Rows] = []  # taken out of the queue, and not written yet
        # Rows so far. Each is counted by one thread alone, so that none needs a lock.
        self._put = self._dropped = 0
        self._written = self._refused = 0
        self._told = (0, 0)
        self._dropping = self._failing = False
        self._abandoned = threading.Event()
        self._thread = PollingThread("prediction-log", self._poll, pause_seconds, self._finish)

    @property
    def waiting(self) -> int:
        """Rows that were put and aren't written."""
        return self._put - self._written - self._refused

    def put(
        self,
        served: Served,
        questions: Sequence[Question],
        answers: Sequence[Prediction | NoAnswer],
        moment: datetime,
    ) -> None:
        """Leave what `served` answered at `moment` to be written, if there is room for it."""
        if self.waiting + len(answers) > self._most_waiting:
            self._dropped += len(answers)
            return
        self._put += len(answers)
        if len(answers) <= _STRETCH:
            self._queue.append(self._encoder.rows(served, questions, answers, moment))
        else:
            self._queue.append(Answered(served, questions, answers, moment))

    def start(self) -> None:
        self._thread.start()

    def close(self, patience_seconds: float = 5.0) -> None:
        """Write what waits, for at most `patience_seconds`; what is left then is lost."""
        self._thread.stop(patience_seconds)
        self._abandoned.set()
        if lost := self.waiting:
            log.warning("prediction_log_lost", rows=lost)

    def _poll(self) -> float:
        return self._pause_seconds * (1 if self._look() else _PAUSES_AFTER_FAILURE)

    def _finish(self) -> None:
        while not self._look() and not self._abandoned.wait(self._pause_seconds):
            pass
        self._writer.close()

    def _look(self) -> bool:
        """Write all that is in the queue; whether that went well."""
        well = False
        try:
            self._writer.prepare()
            while self._held or self._queue:
                self._write_some()
            well = True
        except Exception as error:
            if not self._failing:
                lines, kind = log.traceback_lines(error), type(error).__name__
                log.warning("prediction_log_fails", error=kind, lines=lines)
        if well and self._failing:
            log.info("prediction_log_writes_again")
        self._failing = not well
        self._tell(well)
        return well

    def _write_some(self) -> None:
        rows = sum(one.number for one in self._held)
        while self._queue and rows < _MOST_TOGETHER:
            taken = self._queue.popleft()
            encoded = [taken] if isinstance(taken, Rows) else list(self._stretches(taken))
            self._held += encoded
            rows += sum(one.number for one in encoded)
        began = time.monotonic()
        try:
            self._writer.write(self._held)
        except ValueError as error:
            log.failure("prediction_log_refused", error, rows=rows)
            self._refused += rows
        else:
            self._written += rows
            self._metrics.log_took(time.monotonic() - began)
        self._held = []

    def _stretches(self, answered: Answered) -> Iterator[Rows]:
        served, questions, answers, moment = answered
        for start in range(0, len(answers), _STRETCH):
            part = slice(start, start + _STRETCH)
            yield self._encoder.rows(served, questions[part], answers[part], moment)
            time.sleep(0)

    def _tell(self, well: bool) -> None:
        written, dropped = self._told
        self._told = self._written, self._dropped + self._refused
        drops = self._told[1] - dropped
        self._metrics.logged(self._told[0] - written, drops, self.waiting)
        if drops and not self._dropping:
            log.warning("prediction_log_drops", waiting=self.waiting)
            self._dropping = True
        elif self._dropping and well and not drops:
            log.info("prediction_log_drops_no_more", dropped=self._told[1])
            self._dropping = False
