"""The finished parts of the API, and the order in which they start and stop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from starlette.concurrency import run_in_threadpool

from streamflow.api.telemetry.background import Background
from streamflow.api.telemetry.recorder import Recorder
from streamflow.keys.key_sync import KeySync
from streamflow.scores.score_lookup import ScoreLookup
from streamflow.serving.batching import RequestBatcher
from streamflow.serving.challenger.challenger import Challenger
from streamflow.serving.challenger.follower import StagingFollower
from streamflow.serving.prediction_log import PredictionLog
from streamflow.serving.predictor import Predictor
from streamflow.serving.watcher import Watcher

# How long a start waits for the first model. One that takes longer is served once it is ready.
FIRST_POLL_SECONDS = 15.0
# New objects between two collections: 700 by default, which shadow scores reach every few requests.
_OBJECTS_PER_COLLECTION = 50_000


@dataclass(frozen=True)
class ApiParts:
    """The parts of the API of one registered model, built but not started.

    Requests name an entity by `join_key`. `now` returns the time in UTC. Without a
    `prediction_log`, predictions aren't kept; without a `staging`, no version in Staging scores;
    without `scores`, nobody has a stored one.
    """

    registered_model: str
    join_key: str
    predictor: Predictor
    watcher: Watcher
    batches: RequestBatcher
    recorder: Recorder
    key_sync: KeySync
    prediction_log: PredictionLog | None
    staging: tuple[StagingFollower, Challenger] | None
    now: Callable[[], datetime]
    beside_requests: Sequence[Background] = ()
    scores: ScoreLookup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start all parts, and stop them at the end of the block."""
        await asyncio.gather(
            run_in_threadpool(self.watcher.start, FIRST_POLL_SECONDS),
            run_in_threadpool(self.key_sync.start, FIRST_POLL_SECONDS),
        )
        # The API starts without the online store too: its connections are retried.
        unavailable = self.watcher.state.feature_store_error is not None
        await self.batches.open(0.0 if unavailable else FIRST_POLL_SECONDS)
        if self.scores is not None:
            await self.scores.open(0.0 if unavailable else FIRST_POLL_SECONDS)
        if self.prediction_log is not None:
            self.prediction_log.start()
        if self.staging is not None:
            follower, challenger = self.staging
            challenger.shadow.start()
            follower.start()
        for one in self.beside_requests:
            one.start()
        flushing = asyncio.create_task(self.recorder.flush_periodically())
        # These objects live as long as the process. Collections that visit them make requests slow.
        gc.freeze()
        # What a request leaves behind is freed without a collection, but for a rare cycle.
        gc.set_threshold(_OBJECTS_PER_COLLECTION)
        yield
        await run_in_threadpool(self.watcher.stop)
        for one in self.beside_requests:
            await run_in_threadpool(one.stop)
        if self.staging is not None:
            await run_in_threadpool(self.staging[0].stop)
        await self.batches.close()
        if self.scores is not None:
            await self.scores.close()
        if self.staging is not None:
            await run_in_threadpool(self.staging[1].shadow.close)
        if self.prediction_log is not None:
            await run_in_threadpool(self.prediction_log.close)
        await run_in_threadpool(self.key_sync.stop)
        flushing.cancel()
        self.recorder.flush()
