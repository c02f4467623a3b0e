"""From entity ids to the body of a response: what `/predict` and `/predict/batch` do.

FastAPI's routes use `predict` and `predict_batch`, the direct HTTP path `direct_handlers`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import Literal, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from streamflow.api.limits import BATCH_PATH
from streamflow.api.request import RequestRecord
from streamflow.api.telemetry.recorder import Recorder
from streamflow.errors import MissingFeatures, NoAnswer, StaleFeatures, UnknownEntity
from streamflow.serving import responses
from streamflow.serving.batching import RequestBatcher, ScoredBatch
from streamflow.serving.callbacks import Callback, wait_for
from streamflow.serving.scoring import Prediction, ScoringRequest, Served

T = TypeVar("T")
# From here on encoding the response would keep other requests waiting for too long.
_LARGE_BATCH = 64

# Given a body, calls the callback at once or later; or returns False if the body isn't valid, which
# FastAPI's route explains.
DirectHandler = Callable[[bytes, RequestRecord, Callback[bytes]], bool]


class PredictionHandlers:
    """Handlers that add the model's version to the request's record, and count predictions."""

    def __init__(self, batches: RequestBatcher, recorder: Recorder, join_key: str) -> None:
        self._batches = batches
        self._recorder = recorder
        self._join_key = join_key
        self._tasks: set[asyncio.Task[bytes]] = set()  # the loop holds only weak references

    async def predict(self, entity_id: str, record: RequestRecord) -> bytes:
        """The entity's prediction as JSON. Raises NoAnswer, ServiceUnavailable."""
        return await wait_for(partial(self._start, entity_id, record))

    async def predict_batch(self, entity_ids: Sequence[str], record: RequestRecord) -> bytes:
        """Per id its prediction or its problem, as JSON.

        Raises what concerns all of them: NoProductionModel, ServiceUnavailable.
        """
        requests = [ScoringRequest(entity_id, record.request_id) for entity_id in entity_ids]
        served, results = await self._batches.score(requests)
        record.model_version = served.version.version
        self._count(served, results)
        for result in results:
            if isinstance(result, NoAnswer):
                self._recorder.count_problem(result.code)

        def encode() -> bytes:
            return to_json(
                responses.batch(
                    self._join_key, served.version, entity_ids, results, record.request_id
                )
            )

        return encode() if len(entity_ids) < _LARGE_BATCH else await run_in_threadpool(encode)

    def direct_handlers(
        self, request_model: type[BaseModel], batch_model: type[BaseModel]
    ) -> dict[str, DirectHandler]:
        """By path the handlers of bodies that are valid JSON of these models."""
        return {
            "/predict": _handler(request_model, attrgetter("entity_id"), self._start),
            BATCH_PATH: _handler(batch_model, attrgetter("entity_ids"), self._start_batch),
        }

    def _start(self, entity_id: str, record: RequestRecord, callback: Callback[bytes]) -> None:
        """As `predict`, without a task or a future, which cost as much as the prediction."""

        def finish(result: ScoredBatch | Exception) -> None:
            body: bytes | Exception
            try:
                body = self._encoded(result, record)
            except Exception as error:
                body = error
            callback(body)

        self._batches.submit([ScoringRequest(entity_id, record.request_id)], finish)

    def _start_batch(
        self, entity_ids: Sequence[str], record: RequestRecord, callback: Callback[bytes]
    ) -> None:
        def finish(task: asyncio.Task[bytes]) -> None:
            self._tasks.discard(task)
            if not task.cancelled():
                error = task.exception()
                callback(error if isinstance(error, Exception) else task.result())

        task = asyncio.ensure_future(self.predict_batch(entity_ids, record))
        self._tasks.add(task)
        task.add_done_callback(finish)

    def _encoded(self, result: ScoredBatch | Exception, record: RequestRecord) -> bytes:
        if isinstance(result, Exception):
            raise result
        served, (prediction,) = result
        model = served.version if isinstance(prediction, NoAnswer) else prediction.model
        record.model_version = model.version
        self._count(served, [prediction])
        if isinstance(prediction, NoAnswer):
            raise prediction
        return to_json(responses.prediction(self._join_key, prediction))

    def _count(self, served: Served, results: Sequence[Prediction | NoAnswer]) -> None:
        # Those of a canary are of another model.
        scores: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
        for one in results:
            if isinstance(one, Prediction):
                scores[one.model.version].append((one.prediction, one.probability))
        for version, of_it in scores.items():
            self._recorder.record_predictions(version, of_it)
        for result in results:
            for view, problem in _feature_problems(served, result):
                self._recorder.count_feature_problem(view, problem)


def _handler(
    model: type[BaseModel],
    field: Callable[[BaseModel], T],
    start: Callable[[T, RequestRecord, Callback[bytes]], None],
) -> DirectHandler:
    """A handler that parses a body as the model, and starts with its field."""
    validate = model.__pydantic_validator__.validate_json

    def handle(body: bytes, record: RequestRecord, callback: Callback[bytes]) -> bool:
        try:
            request = validate(body)
        except ValidationError:
            return False
        start(field(request), record, callback)
        return True

    return handle


def _feature_problems(
    served: Served, result: Prediction | NoAnswer
) -> Iterable[tuple[str, Literal["unknown", "missing", "stale"]]]:
    """The feature views with a problem, and which problem."""
    if isinstance(result, Prediction):
        return [(view, "stale") for view in result.stale_views]
    if isinstance(result, StaleFeatures):
        return [(view, "stale") for view in result.ages]
    if isinstance(result, UnknownEntity):
        return [(view, "unknown") for view in served.schema.views]
    if isinstance(result, MissingFeatures):
        features = served.schema.features
        missing = {one.feature_view for one in features if one.name in result.features}
        return [(view, "missing") for view in missing]
    return []
