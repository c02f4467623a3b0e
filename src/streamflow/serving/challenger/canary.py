"""The canary: a share of the entities is answered by the version in Staging.

The version in Production scores every row first, and its answer is the one that is sent wherever
the challenger has none: a fault of the challenger never reaches a client. The challenger scores in
a thread of its own, within a time limit, so that it can't keep the event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from streamflow import log
from streamflow.errors import FeatureStoreUnavailable, NoAnswer
from streamflow.serving.challenger.canary_bounds import CanaryBounds, CanaryCounts
from streamflow.serving.challenger.scored_rows import (
    Comparison,
    ScoredRows,
    ScorePairs,
    outcomes,
)

if TYPE_CHECKING:
    from streamflow.serving.challenger.challenger_model import ChallengerModel
    from streamflow.serving.scoring import Prediction, ScoringRequest, Served

# Problems of a row that the challenger didn't score in time.
TOO_LATE, TOO_MANY = "too_late", "too_many"
# Calls of the challenger that may wait for each other.
_MOST_WAITING = 64
_BUCKETS = 10_000


@dataclass(frozen=True)
class CanaryState:
    """A canary that was started: `number` is its own, `share` the percentage of the entities."""

    number: int
    version: int
    share: float


@dataclass(frozen=True)
class CanaryEnd:
    """A canary that ended by itself, and why."""

    canary: CanaryState
    why: str
    figures: dict[str, int]


class Metrics(Protocol):
    """What is published about the canary."""

    def record_canary_answers(self, challenger: int, production: int) -> None:
        """Answers of the canary's entities, by the version in Staging or in its place by the one in
        Production."""

    def record_shadow_scores(self, counts: Comparison) -> None:
        """Rows that the challenger scored beside an answer, in the background or as a canary."""


def percentile(model: str, entity_id: str) -> float:
    """Where the entity stands among all, from 0 to below 100: a canary of more than that takes it.

    It is decided by a hash of the registered model's name and the id alone, so that it is the same
    in each process, after each start and for each version.
    """
    text = f"{model}\0{entity_id}".encode(errors="surrogatepass")
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
    return number % _BUCKETS * 100 / _BUCKETS


# Called in the event loop with all results, in their order, and the same divided by who answered.
Answered = Callable[["list[Prediction | NoAnswer]", Sequence[ScoredRows]], None]


class Canary:
    """`follow` may be called by any thread; `positions` and `submit` belong to the event loop.

    After `patience_seconds` the version in Production answers. `record` takes the scores of both.
    """

    def __init__(
        self,
        model: ChallengerModel,
        metrics: Metrics,
        bounds: CanaryBounds,
        record: Callable[[ScorePairs], None],
        *,
        registered_model: str,
        patience_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state: CanaryState | None = None
        self.ended: CanaryEnd | None = None
        self._model = model
        self._metrics = metrics
        self._bounds = bounds
        self._record = record
        self._registered_model = registered_model
        self._patience_seconds = patience_seconds
        self._monotonic = monotonic
        self._counts = CanaryCounts(monotonic())
        self._counting = threading.Lock()
        self._waiting = 0
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def follow(self, state: CanaryState | None) -> None:
        """Begin, change or end the canary; one that has ended by itself doesn't begin again."""
        with self._counting:
            if state is not None and self.ended is not None and self.ended.canary == state:
                state = None
            if state == self.state:
                return
            self._counts = CanaryCounts(self._monotonic())
            self.state = state
        if state is None:
            log.info("canary_stopped")
        else:
            log.info("canary_followed", model_version=state.version, share=state.share)

    def positions(self, requests: Sequence[ScoringRequest]) -> list[int]:
        """Those of the requests whose entities are the canary's; none without one."""
        state, challenger = self.state, self._model.served
        if state is None or challenger is None or challenger.version.version != state.version:
            return []
        name, share = self._registered_model, state.share
        return [i for i, one in enumerate(requests) if percentile(name, one.entity_id) < share]

    def submit(self, scored: ScoredRows, positions: Sequence[int], answered: Answered) -> None:
        """Let the challenger answer those at `positions` of what the version in Production has
        answered."""
        challenger, loop = self._model.served, asyncio.get_running_loop()
        taken = scored.only(positions)._replace(canary=self.state)
        finished = False

        def finish(shadows: list[Prediction | str] | None) -> None:
            nonlocal finished
            if finished:
                return
            finished = True
            timer.cancel()
            self._finish(scored, positions, taken, challenger, shadows, answered)

        def job() -> None:
            shadows: list[Prediction | str] | None = None
            # Without the online store, the challenger isn't to blame.
            with suppress(FeatureStoreUnavailable):
                if challenger is not None:
                    shadows = self._model.score(challenger, taken)
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(done, shadows)

        def done(shadows: list[Prediction | str] | None) -> None:
            self._waiting -= 1
            finish(shadows)

        timer = loop.call_later(self._patience_seconds, lambda: finish([TOO_LATE] * len(positions)))
        if self._waiting >= _MOST_WAITING:
            finish([TOO_MANY] * len(positions))
            return
        self._waiting += 1
        if self._thread is None:
            # A daemon, so that a model that doesn't come back doesn't keep the process.
            self._thread = threading.Thread(target=self._work, name="canary", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def count(self, challenger: Served, counts: Comparison, canary: object) -> None:
        """Count what the challenger scored while this canary was on, in any thread; beyond a bound
        it ends."""
        with self._counting:
            state = self.state
            if state is None or state != canary or state.version != challenger.version.version:
                return
            self._counts.add(counts, self._monotonic())
            why = self._counts.exceeded(self._bounds)
            if why is None:
                return
            self.ended = CanaryEnd(state, why, dict(self._counts.figures))
            self.state = None
        log.warning("canary_ended", model_version=state.version, share=state.share, why=why)

    def _work(self) -> None:
        while True:
            try:
                self._jobs.get()()
            except Exception as error:
                log.failure("canary_failed", error)

    def _finish(
        self,
        scored: ScoredRows,
        positions: Sequence[int],
        taken: ScoredRows,
        challenger: Served | None,
        shadows: list[Prediction | str] | None,
        answered: Answered,
    ) -> None:
        results = list(scored.results)
        by_challenger: list[int] = []
        if challenger is not None and shadows is not None:
            for position, outcome in zip(positions, shadows, strict=True):
                if not isinstance(outcome, str):
                    results[position] = outcome
                    by_challenger.append(position)
        theirs = set(by_challenger)
        ours = [i for i in range(len(results)) if i not in theirs]
        merged = scored._replace(results=results)
        parts = [merged.only(ours)] if ours else []
        if challenger is not None and theirs:
            parts.append(merged.only(by_challenger)._replace(served=challenger))
        answered(results, parts)
        self._metrics.record_canary_answers(len(theirs), len(positions) - len(theirs))
        if challenger is not None and shadows is not None:
            self._compare(taken, challenger, shadows)

    def _compare(
        self, taken: ScoredRows, challenger: Served, shadows: Sequence[Prediction | str]
    ) -> None:
        answers = outcomes(taken.results)
        counts = Comparison.of(answers, shadows)
        self._metrics.record_shadow_scores(counts)
        self.count(challenger, counts, taken.canary)
        by_challenger = [i for i, one in enumerate(shadows) if not isinstance(one, str)]
        by_production = [i for i, one in enumerate(shadows) if isinstance(one, str)]
        both = (
            (by_challenger, challenger, taken.served, shadows, answers),
            (by_production, taken.served, challenger, answers, shadows),
        )
        for chosen, served, beside, sent, other in both:
            if chosen:
                self._record(
                    ScorePairs(
                        served,
                        beside,
                        [taken.requests[i] for i in chosen],
                        [taken.moment] * len(chosen),
                        [sent[i] for i in chosen],
                        [other[i] for i in chosen],
                    )
                )
