"""Shadow scores: the challenger scores in a thread what the version in Production has answered.

The event loop puts what was answered into a queue, a thread scores it some tenths of a second
later, many rows in one call, and writes both scores to the prediction log. What doesn't fit into
the queue is dropped and counted. No answer waits for any of this, but for Python's part of one such
call: Python runs one thread at a time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from streamflow import log
from streamflow.errors import FeatureStoreUnavailable
from streamflow.polling import PollingThread
from streamflow.serving.challenger.scored_rows import (
    Comparison,
    ScoredRows,
    ScorePairs,
    joined,
    outcomes,
)
from streamflow.serving.challenger.shadow_rows import EncodedPairs, encoded, model_key

if TYPE_CHECKING:
    from streamflow.serving.challenger.challenger_model import ChallengerModel
    from streamflow.serving.scoring import Served

MAX_WAITING = 10_000
# Rows scored and encoded in one call. A forest of 200 trees takes 13 µs a row for 16 of them and
# 9.5 for 128 on a quiet processor; beside requests, which bring their own trees into its cache, 97
# and 37. Python's own part holds up other Python code of the process for some 1 ms a call.
_TOGETHER = 128
# The longest pause between two calls. A pause is as long as the call before it, so that answers
# find this thread at rest at least half of the time.
_LONGEST_REST_SECONDS = 0.01
_PAUSE_SECONDS = 0.1
_WRITE_SECONDS = 0.5
_PAUSES_AFTER_FAILURE = 20
# Models whose keys are remembered.
_MOST_KEYS = 64


class Writer(Protocol):
    """Where both scores are written; it belongs to the thread."""

    def prepare(self) -> None:
        """Called before rows are written."""

    def write(self, batches: Sequence[EncodedPairs]) -> None:
        """Write all or none. Raises ValueError for rows that can never be written."""

    def close(self) -> None:
        """Release what it holds."""


class Metrics(Protocol):
    """What is published about shadow scores."""

    def record_shadow_scores(self, counts: Comparison) -> None:
        """Rows that the challenger scored beside an answer, in the background or as a canary."""

    def record_shadow_dropped(self, rows: int) -> None:
        """Rows that weren't scored beside an answer, or whose scores weren't written."""


class Shadow:
    """`add` and `record` belong to the event loop; a thread does the work.

    `share` is the percentage of rows that are scored beside their answers, chosen by `random`,
    which returns numbers from 0 to 1. `counted` is called with what came of them. Without a
    `writer` nothing is written.
    """

    def __init__(
        self,
        model: ChallengerModel,
        metrics: Metrics,
        *,
        share: float,
        random: Callable[[], float],
        counted: Callable[[Served, Comparison, object], None],
        writer: Writer | None = None,
        max_waiting: int = MAX_WAITING,
        pause_seconds: float = _PAUSE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.share = share
        self._model = model
        self._metrics = metrics
        self._random = random
        self._counted = counted
        self._writer = writer
        self._max_waiting = max_waiting
        self._monotonic = monotonic
        self._queue: deque[ScoredRows | ScorePairs] = deque()
        self._pending: list[EncodedPairs] = []
        # Rows so far; each is counted by one thread alone, so that none needs a lock.
        self._added = self._taken = 0
        self._dropped = self._lost = self._scored = 0
        self._keys: dict[int, tuple[Served, bytes]] = {}
        self._write_at = 0.0
        self._failing = False
        self._thread = PollingThread("shadow", self._poll, pause_seconds, self._finish)

    @property
    def scored(self) -> int:
        """Rows that were scored beside their answers."""
        return self._scored

    @property
    def dropped(self) -> int:
        """Rows that weren't, because too many waited or the online store was away; or whose scores
        couldn't be written."""
        return self._dropped + self._lost

    def add(self, scored: ScoredRows) -> None:
        """Queue the share of these rows, if there is room."""
        if self.share < 100:
            share = self.share / 100
            chosen = [i for i in range(len(scored.requests)) if self._random() < share]
            if not chosen:
                return
            scored = scored.only(chosen)
        self._put(scored, len(scored.requests))

    def record(self, pairs: ScorePairs) -> None:
        """Queue scores that are there already, to be written."""
        self._put(pairs, len(pairs.requests))

    def start(self) -> None:
        """Start scoring."""
        self._thread.start()

    def close(self, patience_seconds: float = 5.0) -> None:
        """Score and write what waits, for at most `patience_seconds`."""
        self._thread.stop(patience_seconds)

    def _put(self, item: ScoredRows | ScorePairs, rows: int) -> None:
        if self._added - self._taken + rows > self._max_waiting:
            self._dropped += rows
            self._metrics.record_shadow_dropped(rows)
            return
        self._added += rows
        self._queue.append(item)

    def _poll(self) -> float | None:
        # What comes meanwhile waits for the next poll, so that many rows are scored in one call.
        until = self._added
        while self._queue and self._taken < until:
            self._take()
        if self._pending and self._monotonic() >= self._write_at and not self._write():
            self._write_at = self._monotonic() + _WRITE_SECONDS * _PAUSES_AFTER_FAILURE
        return None

    def _finish(self) -> None:
        while self._queue:
            self._take()
        self._write()
        if self._writer is not None:
            self._writer.close()

    def _take(self) -> None:
        item = self._queue.popleft()
        if isinstance(item, ScorePairs):
            self._taken += len(item.requests)
            self._encode(item)
            return
        together, rows = [item], len(item.requests)
        while self._queue and rows < _TOGETHER:
            following = self._queue[0]
            if not isinstance(following, ScoredRows) or not _same_call(item, following):
                break
            if rows + len(following.requests) > 2 * _TOGETHER:
                break
            together.append(following)
            rows += len(following.requests)
            self._queue.popleft()
        self._taken += rows
        for part in _parts(together):
            began = self._monotonic()
            self._score(part)
            self._rest(self._monotonic() - began)

    def _rest(self, seconds: float) -> None:
        """Let the answers go first, unless so much waits that rows may have to be dropped.

        A thread that only offers its turn (a sleep of 0) takes it again before another wakes up.
        """
        if 2 * (self._added - self._taken) < self._max_waiting:
            time.sleep(min(seconds, _LONGEST_REST_SECONDS))

    def _score(self, together: Sequence[ScoredRows]) -> None:
        scored = joined(together)
        challenger = self._model.served
        # A version that was in Staging may be in Production by now.
        if challenger is None or challenger.version.version == scored.served.version.version:
            return
        try:
            shadows = self._model.score(challenger, scored)
        except FeatureStoreUnavailable:
            self._lose(len(scored.requests))
            return
        answers = outcomes(scored.results)
        counts = Comparison.of(answers, shadows)
        self._scored += counts.rows
        self._metrics.record_shadow_scores(counts)
        self._counted(challenger, counts, scored.canary)
        moments = [one.moment for one in together for _ in one.requests]
        self._encode(
            ScorePairs(scored.served, challenger, scored.requests, moments, answers, shadows)
        )

    def _encode(self, pairs: ScorePairs) -> None:
        if self._writer is None:
            return
        keys = {}
        for served in (pairs.answered, pairs.shadow):
            known = self._keys.get(id(served))
            if known is None or known[0] is not served:
                if len(self._keys) > _MOST_KEYS:
                    self._keys.clear()
                known = self._keys[id(served)] = served, model_key(served)
            keys[id(served)] = known[1]
        self._pending.append(encoded(pairs, keys))

    def _write(self) -> bool:
        """Write what is encoded; whether that succeeded. Beyond the bound, the oldest is lost."""
        if self._writer is None or not self._pending:
            return True
        try:
            self._writer.prepare()
            self._writer.write(self._pending)
        except ValueError as error:
            log.failure("shadow_log_refused", error)
            self._lose(sum(one.number for one in self._pending))
        except Exception as error:
            if not self._failing:
                lines, kind = log.traceback_lines(error), type(error).__name__
                log.warning("shadow_log_fails", error=kind, lines=lines)
            self._failing = True
            waiting = sum(one.number for one in self._pending)
            while waiting > self._max_waiting:
                lost = self._pending.pop(0).number
                waiting -= lost
                self._lose(lost)
            return False
        self._pending = []
        self._write_at = self._monotonic() + _WRITE_SECONDS
        if self._failing:
            self._failing = False
            log.info("shadow_log_writes_again")
        return True

    def _lose(self, rows: int) -> None:
        self._lost += rows
        self._metrics.record_shadow_dropped(rows)


def _same_call(one: ScoredRows, other: ScoredRows) -> bool:
    """Whether they can be scored, counted and written together: the same model, canary and day."""
    same = one.served is other.served and one.canary == other.canary
    return same and one.moment.date() == other.moment.date()


def _parts(together: Sequence[ScoredRows]) -> Sequence[Sequence[ScoredRows]]:
    """The same rows in parts of at most _TOGETHER, if one call had many."""
    if len(together) > 1:
        return [together]
    (large,) = together
    positions = range(len(large.requests))
    return [
        [large.only(positions[start : start + _TOGETHER])]
        for start in range(0, len(positions), _TOGETHER)
    ]
