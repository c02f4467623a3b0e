"""From a question to an answer's bytes: what `/predict` and `/predict/batch` do.

A part of `streamflow.api`. Both are reached by FastAPI's routes, and ahead of them by `direct`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from streamflow import answers
from streamflow.boundary import Direct
from streamflow.errors import MissingFeatures, NoAnswer, StaleFeatures, UnknownEntity
from streamflow.problems import BATCH_PATH, Exchange
from streamflow.serving.batches import Batches
from streamflow.serving.scoring import Prediction, Question, Served
from streamflow.telemetry import Telemetry

# From here on writing the answer would keep other requests from being heard.
_MANY = 64


class Asking:
    def __init__(self, batches: Batches, metrics: Telemetry, join_key: str) -> None:
        self._batches = batches
        self._metrics = metrics
        self._join_key = join_key

    async def one(self, entity_id: str, exchange: Exchange) -> bytes:
        """Raises what keeps the entity from having a prediction."""
        question = Question(entity_id, exchange.request_id)
        served, (answer,) = await self._batches.ask([question])
        exchange.model_version = served.version.version
        self._count(served, [answer])
        if isinstance(answer, NoAnswer):
            raise answer
        return to_json(answers.prediction(self._join_key, answer))

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
            told = answers.batch(
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

        def answering(model: type[BaseModel], field: str, answer: Any) -> Direct:
            validate = model.__pydantic_validator__.validate_json

            def direct(body: bytes, exchange: Exchange) -> Awaitable[bytes | None]:
                try:
                    asked = validate(body)
                except ValidationError:
                    return _nothing()
                told: Awaitable[bytes | None] = answer(getattr(asked, field), exchange)
                return told

            return direct

        return {
            "/predict": answering(question, "entity_id", self.one),
            BATCH_PATH: answering(questions, "entity_ids", self.many),
        }


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


async def _nothing() -> None:
    return None
