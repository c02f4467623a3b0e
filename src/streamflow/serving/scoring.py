"""From rows of the online store to predictions, many at a time: one call of the model for all.

A row without a problem takes a short path; any other is checked feature by feature, so that its
error names what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import isfinite
from operator import itemgetter, lt
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from streamflow.errors import MissingFeatures, NoAnswer, StaleFeatures, UnseenCategory
from streamflow.serving.feature_status import (
    MISSING,
    Clock,
    EntityRow,
    FeatureReading,
    allowed_ages,
    feature_readings,
)
from streamflow.training import served_model
from streamflow.training.served_model import FeatureSchema, ServedModel

if TYPE_CHECKING:
    from streamflow.registry.records import ModelVersion
    from streamflow.serving.online_store import Plan


@dataclass(frozen=True)
class Served:
    """A model that is served, its version, and the store's plan to read its features."""

    version: ModelVersion
    model: ServedModel
    plan: Plan = None

    @property
    def schema(self) -> FeatureSchema:
        """What the model needs."""
        return self.model.schema

    @cached_property
    def needs(self) -> Needs:
        """What the model needs, prepared for the short path."""
        return Needs.from_schema(self.schema)


@dataclass(frozen=True)
class Needs:
    """A schema, prepared for the short path: positions of what must be checked."""

    names: tuple[str, ...]
    views: tuple[str, ...]
    required: Callable[[tuple[object, ...]], tuple[object, ...]]
    floats: tuple[int, ...]
    allowed_ages: tuple[tuple[str, timedelta | None], ...]

    @staticmethod
    def from_schema(schema: FeatureSchema) -> Needs:
        """The needs of a schema."""
        features = schema.features
        required = [i for i, feature in enumerate(features) if not feature.nullable]
        floats = tuple(i for i, feature in enumerate(features) if feature.type == "FLOAT64")
        # itemgetter returns a single item bare; with the first item twice, it returns a tuple.
        taken = itemgetter(*required, *required[:1]) if required else lambda values: ()
        names = tuple(feature.name for feature in features)
        return Needs(names, schema.views, taken, floats, allowed_ages(schema))

    def met(self, values: tuple[Any, ...]) -> bool:
        """Whether the values are complete and finite, so that no feature has a problem."""
        if None in self.required(values) or MISSING in values:
            return False
        for position in self.floats:
            value = values[position]
            if value is not None and not isfinite(value):
                return False
        return True


@dataclass(frozen=True)
class ScoringRequest:
    """An entity to score, and the id of the request that it is part of."""

    entity_id: str
    request_id: str


class Prediction(NamedTuple):
    """A prediction and its receipt: times in UTC, `features_used` in the schema's order.

    `stale_views` are those that a warning names.
    """

    entity_id: str
    prediction: int
    probability: float
    features_used: Mapping[str, object]
    model: ModelVersion
    features_as_of: datetime
    feature_times: Mapping[str, datetime]
    warnings: tuple[str, ...]
    request_id: str
    stale_views: tuple[str, ...] = ()


class _Times(NamedTuple):
    """Event timestamps by feature view, and the oldest of them."""

    by_view: Mapping[str, datetime]
    oldest: datetime

    @staticmethod
    def if_fresh(
        views: tuple[str, ...], times: tuple[datetime | None, ...], oldest: tuple[datetime, ...]
    ) -> _Times | None:
        """None if one of `times` is missing, or before the `oldest` that isn't stale."""
        present = [time for time in times if time is not None]
        if len(present) < len(views) or any(map(lt, present, oldest)):
            return None
        return _Times(dict(zip(views, present, strict=True)), min(present))


class _Input(NamedTuple):
    """The model's input for one request, and what the receipt records of it."""

    values: tuple[object, ...]
    times: Mapping[str, datetime]
    as_of: datetime
    warnings: tuple[str, ...] = ()
    stale_views: tuple[str, ...] = ()


def score(
    served: Served,
    requests: Sequence[ScoringRequest],
    rows: Sequence[EntityRow],
    clock: Clock,
    stale_features: Literal["refuse", "warn"],
) -> list[Prediction | NoAnswer]:
    """Per request its prediction, or why there is none: UnknownEntity, MissingFeatures,
    StaleFeatures, UnseenCategory."""
    needs, oldest = served.needs, clock.oldest(served.needs.allowed_ages)
    inputs: list[_Input | NoAnswer] = []
    # Most rows are of the same times as the one before.
    times: tuple[datetime | None, ...] = ()
    shared: _Times | None = None
    for request, row in zip(requests, rows, strict=True):
        if row.times != times:
            times = row.times
            shared = _Times.if_fresh(needs.views, times, oldest)
        if shared is not None and needs.met(row.values):
            inputs.append(_Input(row.values, *shared))
        else:
            inputs.append(_checked(served, request, row, clock, stale_features))
    complete = [one for one in inputs if isinstance(one, _Input)]
    scored = iter(_scores(served, [one.values for one in complete]))
    return [
        one if isinstance(one, NoAnswer) else _prediction(served, request, one, next(scored))
        for request, one in zip(requests, inputs, strict=True)
    ]


def _checked(
    served: Served,
    request: ScoringRequest,
    row: EntityRow,
    clock: Clock,
    stale_features: Literal["refuse", "warn"],
) -> _Input | NoAnswer:
    try:
        readings = feature_readings(served.schema, request.entity_id, row, clock)
    except NoAnswer as unknown:
        return unknown
    missing = [reading.name for reading in readings if reading.status == "missing"]
    if missing:
        return MissingFeatures(missing)
    stale = _stale(readings)
    if stale is not None and stale_features == "refuse":
        return stale
    times = {
        view: time.astimezone(UTC)
        for view, time in zip(served.schema.views, row.times, strict=True)
        if time is not None
    }
    values = tuple(reading.value for reading in readings)
    as_of = min(times.values())
    if stale is None:
        return _Input(values, times, as_of)
    return _Input(values, times, as_of, (stale.message,), tuple(stale.ages))


def _scores(
    served: Served, rows: Sequence[tuple[object, ...]]
) -> list[tuple[int, float] | UnseenCategory]:
    if not rows:
        return []
    columns = dict(zip(served.needs.names, zip(*rows, strict=True), strict=True))
    try:
        labels, probabilities = served.model.predict(columns)
    except served_model.UnseenCategory as error:
        if len(rows) == 1:
            return [UnseenCategory(error.feature, error.value)]
        # It doesn't say whose value that was; the others get their predictions.
        return [one for row in rows for one in _scores(served, [row])]
    if len(labels) != len(rows) or len(probabilities) != len(rows):
        raise ValueError(f"the model returns {len(labels)} labels for {len(rows)} rows")
    return list(zip(labels.tolist(), probabilities.tolist(), strict=True))


def _prediction(
    served: Served,
    request: ScoringRequest,
    model_input: _Input,
    scored: tuple[int, float] | UnseenCategory,
) -> Prediction | UnseenCategory:
    if isinstance(scored, UnseenCategory):
        return scored
    return Prediction(
        request.entity_id,
        *scored,
        dict(zip(served.needs.names, model_input.values, strict=True)),
        served.version,
        model_input.as_of,
        model_input.times,
        model_input.warnings,
        request.request_id,
        model_input.stale_views,
    )


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
