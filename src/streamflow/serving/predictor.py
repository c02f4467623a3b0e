"""From an entity's id to a prediction that says what it rests on; it knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from streamflow import served_model
from streamflow.errors import (
    FeatureStoreUnavailable,
    MissingFeatures,
    NoProductionModel,
    StaleFeatures,
    StreamFlowError,
    UnseenCategory,
)
from streamflow.served_model import FeatureSchema, ServedModel
from streamflow.serving.reader import Clock, FeatureReading, read_features

if TYPE_CHECKING:
    from streamflow.online import OnlineFeatures
    from streamflow.runs import ModelVersion


@dataclass(frozen=True)
class Served:
    """A model that answers, with the version that it is."""

    version: ModelVersion
    model: ServedModel

    @property
    def schema(self) -> FeatureSchema:
        return self.model.schema


@dataclass(frozen=True)
class Prediction:
    """An answer and its receipt: times in UTC, `features_used` in the schema's order."""

    entity_id: str
    prediction: int
    probability: float
    features_used: Mapping[str, Any]
    model: ModelVersion
    features_as_of: datetime
    feature_times: Mapping[str, datetime]
    warnings: tuple[str, ...]
    request_id: str


class Predictor:
    """Answers with the model that it was last given; many threads may ask at the same time."""

    def __init__(
        self,
        online: OnlineFeatures,
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
        return served, read_features(
            self._online, served.schema, entity_id, self._clock(served.schema, now)
        )

    def predict(self, entity_id: str, now: datetime, request_id: str | None = None) -> Prediction:
        """The Production model's answer for `entity_id`, all or nothing.

        Raises NoProductionModel, UnknownEntity, MissingFeatures, StaleFeatures, UnseenCategory,
        FeatureStoreUnavailable.
        """
        # The reference is taken once: a swap from here on doesn't touch this request.
        served, readings = self.features(entity_id, now)
        missing = [reading.name for reading in readings if reading.status == "missing"]
        if missing:
            raise MissingFeatures(missing)
        stale = _stale(readings)
        if stale is not None and self._stale_features == "refuse":
            raise stale
        features_used = {reading.name: reading.value for reading in readings}
        columns = {name: [value] for name, value in features_used.items()}
        try:
            labels, probabilities = served.model.predict(columns)
        except served_model.UnseenCategory as error:
            raise UnseenCategory(error.feature, error.value) from error
        feature_times = _feature_times(readings)
        return Prediction(
            entity_id=entity_id,
            prediction=int(labels[0]),
            probability=float(probabilities[0]),
            features_used=features_used,
            model=served.version,
            features_as_of=min(feature_times.values()),
            feature_times=feature_times,
            warnings=() if stale is None else (stale.message,),
            request_id=request_id or uuid4().hex,
        )

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


def _stale(readings: Sequence[FeatureReading]) -> StaleFeatures | None:
    ages: dict[str, tuple[float, float]] = {}
    for reading in readings:
        age, allowed = reading.age_seconds, reading.max_age_seconds
        if reading.status != "stale" or age is None or allowed is None:
            continue
        worst = ages.get(reading.feature_view)
        if worst is None or age - allowed > worst[0] - worst[1]:
            ages[reading.feature_view] = (age, allowed)
    return StaleFeatures(ages) if ages else None


def _feature_times(readings: Sequence[FeatureReading]) -> dict[str, datetime]:
    times: dict[str, datetime] = {}
    for reading in readings:
        if reading.event_timestamp is not None:
            timestamp = reading.event_timestamp.astimezone(UTC)
            oldest = times.get(reading.feature_view, timestamp)
            times[reading.feature_view] = min(oldest, timestamp)
    return times
