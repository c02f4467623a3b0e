"""Requests that wait at the same time share one read of the store and one call of the model.

No request waits in order to share: it is sent at once if no other is in progress, and those that
arrive meanwhile form the next batch. Large requests use other connections to the online store than
small ones, so that small ones never wait for them. Requests beyond what can be served within the
latency budget are rejected at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal

from streamflow.errors import FeatureStoreUnavailable, NoAnswer, Overloaded, StreamFlowError
from streamflow.serving.callbacks import Callback, call, wait_for
from streamflow.serving.challenger.challenger import Challenger
from streamflow.serving.challenger.scored_rows import ScoredRows, Span, parted, spans
from streamflow.serving.feature_status import EntityRow
from streamflow.serving.online_store import OnlineConnection, OnlineStore
from streamflow.serving.predictor import Predictor
from streamflow.serving.scoring import Prediction, ScoringRequest, Served

MAX_BATCH = 1_000
CONNECTIONS = 2
# From this size on, a model call would block other requests, and reading takes a while.
_LARGE = 64
# How many ids may be in progress: the limit grows with what is served in time, and shrinks when
# that is too late, as TCP does with its window.
_FIRST_LIMIT, _LOWEST_LIMIT, _HIGHEST_LIMIT = 2_000, 32, 20_000
_SHRINK = 0.8

_NO_CONNECTIONS = {"idle": 0, "busy": 0, "away": 0}

ScoringResults = list[Prediction | NoAnswer]
# The model in Production, and a result per request; those of a canary name the model that scored.
ScoredBatch = tuple[Served, ScoringResults]
# Called with the seconds that a stage took for requests of one batch.
RecordStage = Callable[[Literal["features", "score"], float], None]
# Called with what one call of the model scored, and when; it must neither block nor raise.
StoreResults = Callable[[Served, Sequence[ScoringRequest], ScoringResults, datetime], None]


@dataclass(frozen=True)
class Load:
    """Ids in progress, how many may be, and connections to the online store by their state."""

    under_way: int
    limit: float
    connections: Mapping[str, int]


@dataclass
class _Queued:
    requests: Sequence[ScoringRequest]
    callback: Callback[ScoredBatch]
    arrived: float
    retried: bool = False


class RequestBatcher:
    """Forms batches of requests; it belongs to one event loop, in which it must be opened."""

    def __init__(
        self,
        predictor: Predictor,
        online: OnlineStore,
        *,
        now: Callable[[], datetime],
        latency_budget_seconds: float,
        store_results: StoreResults | None = None,
        record_stage: RecordStage = lambda stage, seconds: None,
        challenger: Challenger | None = None,
        connections: int = CONNECTIONS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.under_way = 0
        self.limit = float(_FIRST_LIMIT)
        self._predictor = predictor
        self._now = now
        self._store_results = store_results
        self._record_stage = record_stage
        self._challenger = challenger
        self._budget = latency_budget_seconds
        self._monotonic = monotonic
        self._connections: list[OnlineConnection] = [
            online.connect(self._dispatch) for _ in range(connections)
        ]
        self._queue: deque[_Queued] = deque()
        self._small_in_progress = False

    async def open(self, patience_seconds: float) -> None:
        """Connect to the online store, for at most `patience_seconds`."""
        await asyncio.gather(*(one.open(patience_seconds) for one in self._connections))

    async def close(self) -> None:
        """Close the connections; requests in progress fail."""
        for connection in self._connections:
            await connection.close()

    def load(self) -> Load:
        """How busy it is now."""
        states = (
            "idle" if one.idle else "busy" if one.connected else "away" for one in self._connections
        )
        return Load(self.under_way, self.limit, {**_NO_CONNECTIONS, **Counter(states)})

    async def score(self, requests: Sequence[ScoringRequest]) -> ScoredBatch:
        """The model that scored, and per request its prediction, or why there is none.

        Raises NoProductionModel, FeatureStoreUnavailable, Overloaded.
        """
        return await wait_for(partial(self.submit, requests))

    def submit(self, requests: Sequence[ScoringRequest], callback: Callback[ScoredBatch]) -> None:
        """`score` with a callback, which is called later or at once."""
        try:
            self._predictor.production()
            if self.under_way and self.under_way + len(requests) > self.limit:
                raise Overloaded(self.under_way)
        except StreamFlowError as error:
            call(callback, error)
            return
        self.under_way += len(requests)
        self._queue.append(_Queued(requests, callback, self._monotonic()))
        self._dispatch()

    def _dispatch(self) -> None:
        while self._queue and not self._small_in_progress:
            connection = next((one for one in self._connections if one.idle), None)
            if connection is None:
                if not any(one.connected for one in self._connections):
                    self._fail(self._take_all(), _unreachable())
                return
            batch = self._next_batch()
            try:
                served = self._predictor.production()
            except StreamFlowError as error:
                self._fail(batch, error)
                continue
            self._send(connection, served, batch)

    def _send(self, connection: OnlineConnection, served: Served, batch: list[_Queued]) -> None:
        requests = [request for one in batch for request in one.requests]
        self._small_in_progress = small = len(requests) < _LARGE
        sent = self._monotonic()

        def received(rows: list[EntityRow] | Exception) -> None:
            if isinstance(rows, Exception):
                self._retry(batch, rows)
                self._continue(small)
                return
            self._record_stage("features", self._monotonic() - sent)
            if small:
                self._score(served, batch, requests, rows)
            else:
                self._continue(small)
                self._score_in_thread(served, batch, requests, rows)

        connection.send(served.plan, [request.entity_id for request in requests], received)

    def _continue(self, small: bool) -> None:
        if small:
            self._small_in_progress = False
        self._dispatch()

    def _score(
        self,
        served: Served,
        batch: list[_Queued],
        requests: list[ScoringRequest],
        rows: list[EntityRow],
    ) -> None:
        moment, began = self._now(), self._monotonic()
        # The next batch comes after the callers have their results: the larger it is, the less of
        # the database's and the model's time each of its requests takes.
        loop = asyncio.get_running_loop()
        try:
            results = self._predictor.score(served, requests, rows, moment)
        except Exception as error:
            self._fail(batch, error)
            loop.call_soon(self._continue, True)
        else:
            self._record_stage("score", self._monotonic() - began)
            scored = ScoredRows(served, requests, rows, results, moment)
            answered = self._deliver(batch, scored)
            loop.call_soon(self._continue, True)
            if answered:
                loop.call_soon(self._keep, scored)

    def _score_in_thread(
        self,
        served: Served,
        batch: list[_Queued],
        requests: list[ScoringRequest],
        rows: list[EntityRow],
    ) -> None:
        moment, began = self._now(), self._monotonic()
        scoring = asyncio.get_running_loop().run_in_executor(
            None, self._predictor.score, served, requests, rows, moment
        )

        def done(future: asyncio.Future[ScoringResults]) -> None:
            error = future.exception()
            if isinstance(error, Exception):
                self._fail(batch, error)
            else:
                self._record_stage("score", self._monotonic() - began)
                scored = ScoredRows(served, requests, rows, future.result(), moment)
                if self._deliver(batch, scored):
                    self._keep(scored)

        scoring.add_done_callback(done)

    def _deliver(self, batch: list[_Queued], scored: ScoredRows) -> bool:
        """Pass on the results; whether all of them are those of the version in Production."""
        if self._monotonic() - batch[0].arrived > self._budget:
            self.limit = max(_LOWEST_LIMIT, min(self.limit, self.under_way) * _SHRINK)
        else:
            self.limit = min(_HIGHEST_LIMIT, self.limit + len(scored.results))
        challenger = self._challenger
        if challenger is not None and (positions := challenger.positions(scored.requests)):
            self._deliver_canary(challenger, batch, scored, positions)
            return False
        self._finish_all(spans(batch), scored.served, scored.results)
        return True

    def _deliver_canary(
        self,
        challenger: Challenger,
        batch: list[_Queued],
        scored: ScoredRows,
        positions: Sequence[int],
    ) -> None:
        """Requests with an entity of the canary wait for the challenger, the others don't."""

        def answered(results: ScoringResults, parts: Sequence[ScoredRows]) -> None:
            self._finish_all(waiting, scored.served, results)
            for part in parts:
                self._store(part)

        waiting, others = parted(spans(batch), positions)
        self._finish_all(others, scored.served, scored.results)
        challenger.answer(scored, positions, answered)

    def _keep(self, scored: ScoredRows) -> None:
        self._store(scored)
        if self._challenger is not None and self._challenger.loaded:
            self._challenger.mirror(scored)

    def _store(self, scored: ScoredRows) -> None:
        if self._store_results is not None:
            self._store_results(scored.served, scored.requests, scored.results, scored.moment)

    def _finish_all(
        self, batch: Iterable[Span[_Queued]], served: Served, results: ScoringResults
    ) -> None:
        for one, start, end in batch:
            self._finish(one, (served, results[start:end]))

    def _retry(self, batch: list[_Queued], error: Exception) -> None:
        """A lost connection may be one of several: each request is sent once more."""
        lost = isinstance(error, FeatureStoreUnavailable)
        self._fail([one for one in batch if one.retried or not lost], error)
        for one in reversed(batch):
            if lost and not one.retried:
                one.retried = True
                self._queue.appendleft(one)

    def _fail(self, batch: list[_Queued], error: Exception) -> None:
        for one in batch:
            self._finish(one, error)

    def _finish(self, one: _Queued, outcome: ScoredBatch | Exception) -> None:
        self.under_way -= len(one.requests)
        call(one.callback, outcome)

    def _next_batch(self) -> list[_Queued]:
        batch = [self._queue.popleft()]
        size = len(batch[0].requests)
        while self._queue and size + len(self._queue[0].requests) <= MAX_BATCH:
            size += len(self._queue[0].requests)
            batch.append(self._queue.popleft())
        return batch

    def _take_all(self) -> list[_Queued]:
        everything = list(self._queue)
        self._queue.clear()
        return everything


def _unreachable() -> FeatureStoreUnavailable:
    return FeatureStoreUnavailable(
        "The online store can't be reached.", "See `streamflow status`; it's tried again by itself."
    )
