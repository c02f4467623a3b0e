"""The model that answers now, and its answers; it knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from streamflow.errors import FeatureStoreUnavailable, NoAnswer, NoProductionModel, StreamFlowError
from streamflow.serving.feature_status import Clock, EntityRow, FeatureReading, judge
from streamflow.serving.scoring import Prediction, Question, Served, score
from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    from streamflow.serving.online_store import OnlineStore


class Predictor:
    """Answers with the model that it was last given; many threads may ask at the same time."""

    def __init__(
        self,
        online: OnlineStore,
        *,
        registered_model: str,
        join_key: str,
        stale_features: Literal["refuse", "warn"] = "refuse",
        freshness_clock: Literal["materialized", "now"] = "materialized",
    ) -> None:
        self.registered_model = registered_model
        self.join_key = join_key
        self._online = online
        self._stale_features = stale_features
        self._freshness_clock = freshness_clock
        # Each is replaced as a whole, never changed, so that a reader needs no lock.
        self._served: Served | None = None
        self._reason: StreamFlowError | None = None
        self._newest: Mapping[str, datetime] | None = None

    @property
    def served(self) -> Served | None:
        return self._served

    @property
    def newest(self) -> Mapping[str, datetime] | None:
        """Per feature view its newest event timestamp; None until that was read once."""
        return self._newest

    def serve(self, served: Served) -> None:
        """Answer with `served` from the next request on; requests under way keep their model."""
        self._served = served

    def withdraw(self, reason: StreamFlowError | None = None) -> None:
        """Answer no more; each request raises `reason`, or NoProductionModel without one."""
        self._reason = reason
        self._served = None

    def know_newest(self, newest: Mapping[str, datetime]) -> None:
        """Measure ages from these event timestamps, if the clock is the materialized month."""
        self._newest = newest

    def production(self) -> Served:
        """The model that answers now. Raises why there is none, as a rule NoProductionModel."""
        served = self._served
        if served is None:
            raise self._reason or NoProductionModel(self.registered_model)
        return served

    def features(self, entity_id: str, now: datetime) -> tuple[Served, list[FeatureReading]]:
        """What the Production model would be given for `entity_id` at `now`, faults included.

        Raises NoProductionModel, UnknownEntity, FeatureStoreUnavailable.
        """
        served = self.production()
        clock = self._clock(served.schema, now)
        (row,) = self._online.read(served.plan, [entity_id])
        return served, judge(served.schema, entity_id, row, clock)

    def predict(self, entity_id: str, now: datetime, request_id: str | None = None) -> Prediction:
        """The Production model's answer for `entity_id`, all or nothing.

        Raises NoProductionModel, UnknownEntity, MissingFeatures, StaleFeatures, UnseenCategory,
        FeatureStoreUnavailable.
        """
        (answer,) = self.predict_many([Question(entity_id, request_id or uuid4().hex)], now)
        if isinstance(answer, NoAnswer):
            raise answer
        return answer

    def predict_many(
        self, questions: Sequence[Question], now: datetime
    ) -> list[Prediction | NoAnswer]:
        """Per question the Production model's answer, or why there is none.

        Raises NoProductionModel, FeatureStoreUnavailable.
        """
        # The reference is taken once: a swap from here on doesn't touch these questions.
        served = self.production()
        rows = self._online.read(served.plan, [question.entity_id for question in questions])
        return self.score(served, questions, rows, now)

    def score(
        self,
        served: Served,
        questions: Sequence[Question],
        rows: Sequence[EntityRow],
        now: datetime,
    ) -> list[Prediction | NoAnswer]:
        """The answers of `served`, whose rows were read already.

        Raises FeatureStoreUnavailable if the age of no feature can be told.
        """
        clock = self._clock(served.schema, now)
        return score(served, questions, rows, clock, self._stale_features)

    def _clock(self, schema: FeatureSchema, now: datetime) -> Clock:
        if self._freshness_clock == "now":
            return Clock(now)
        if self._newest is None and any(f.max_age_seconds is not None for f in schema.features):
            # Passing data of unknown age for fresh would be a guess.
            raise FeatureStoreUnavailable(
                "The online store hasn't told yet which month is its newest, "
                "so that no feature's age is known.",
                "Look into GET /ready, and try again.",
            )
        return Clock(now, self._newest or {})
