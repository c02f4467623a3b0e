"""From a question to an answer's bytes: what `/predict` and `/predict/batch` do.

Both are reached by FastAPI's routes, and ahead of them by `direct`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from streamflow.api.middleware import Direct
from streamflow.api.problems import BATCH_PATH, Exchange
from streamflow.api.telemetry.telemetry import Telemetry
from streamflow.errors import MissingFeatures, NoAnswer, StaleFeatures, UnknownEntity
from streamflow.serving import responses
from streamflow.serving.batching import Answered, Batches, Tell, awaited
from streamflow.serving.scoring import Prediction, Question, Served

# From here on writing the answer would keep other requests from being heard.
_MANY = 64


class Asking:
    def __init__(self, batches: Batches, metrics: Telemetry, join_key: str) -> None:
        self._batches = batches
        self._metrics = metrics
        self._join_key = join_key
        self._tasks: set[asyncio.Task[bytes]] = set()  # the loop alone would let them go

    async def one(self, entity_id: str, exchange: Exchange) -> bytes:
        """Raises what keeps the entity from having a prediction."""
        return await awaited(partial(self.put, entity_id, exchange))

    def put(self, entity_id: str, exchange: Exchange, tell: Tell[bytes]) -> None:
        """Have told what `one` returns or raises, later or at once."""

        def told(answered: Answered | Exception) -> None:
            outcome: bytes | Exception
            try:
                outcome = self._written(answered, exchange)
            except Exception as error:
                outcome = error
            tell(outcome)

        self._batches.put([Question(entity_id, exchange.request_id)], told)

    def _written(self, answered: Answered | Exception, exchange: Exchange) -> bytes:
        if isinstance(answered, Exception):
            raise answered
        served, (answer,) = answered
        exchange.model_version = served.version.version
        self._count(served, [answer])
        if isinstance(answer, NoAnswer):
            raise answer
        return to_json(responses.prediction(self._join_key, answer))

    async def many(self, entity_ids: Sequence[str], exchange: Exchange) -> bytes:
        """Each id has its prediction or its problem; what concerns all of them is raised."""
        questions = [Question(entity_id, exchange.request_id) for entity_id in entity_ids]
        served, given = await self._batches.ask(questions)
        exchange.model_version = served.version.version
        self._count(served, given)
        for answer in given:
            if isinstance(answer, NoAnswer):
                self._metrics.refused(answer.code)

        def write() -> bytes:
            told = responses.batch(
                self._join_key, served.version, entity_ids, given, exchange.request_id
            )
            return to_json(told)

        return write() if len(entity_ids) < _MANY else await run_in_threadpool(write)

    def _count(self, served: Served, answers: Sequence[Prediction | NoAnswer]) -> None:
        self._metrics.predicted(
            served.version.version,
            [(one.prediction, one.probability) for one in answers if isinstance(one, Prediction)],
        )
        for one in answers:
            for view, problem in _lacks(served, one):
                self._metrics.lacked(view, problem)

    def direct(self, question: type[BaseModel], questions: type[BaseModel]) -> dict[str, Direct]:
        """Answers to bodies that are valid JSON of these models, by path."""

        def answering(model: type[BaseModel], field: str, put: Any) -> Direct:
            validate = model.__pydantic_validator__.validate_json

            def direct(body: bytes, exchange: Exchange, tell: Tell[bytes]) -> bool:
                try:
                    asked = validate(body)
                except ValidationError:
                    return False
                put(getattr(asked, field), exchange, tell)
                return True

            return direct

        return {
            "/predict": answering(question, "entity_id", self.put),
            BATCH_PATH: answering(questions, "entity_ids", self._put_many),
        }

    def _put_many(self, entity_ids: Sequence[str], exchange: Exchange, tell: Tell[bytes]) -> None:
        def done(task: asyncio.Task[bytes]) -> None:
            self._tasks.discard(task)
            if not task.cancelled():
                error = task.exception()
                tell(error if isinstance(error, Exception) else task.result())

        task = asyncio.ensure_future(self.many(entity_ids, exchange))
        self._tasks.add(task)
        task.add_done_callback(done)


def _lacks(
    served: Served, answer: Prediction | NoAnswer
) -> Iterable[tuple[str, Literal["unknown", "missing", "stale"]]]:
    """Feature views, and what was the matter with each."""
    if isinstance(answer, Prediction):
        return [(view, "stale") for view in answer.stale_views]
    if isinstance(answer, StaleFeatures):
        return [(view, "stale") for view in answer.ages]
    if isinstance(answer, UnknownEntity):
        return [(view, "unknown") for view in served.schema.views]
    if isinstance(answer, MissingFeatures):
        features = served.schema.features
        lacking = {one.feature_view for one in features if one.name in answer.features}
        return [(view, "missing") for view in lacking]
    return []
