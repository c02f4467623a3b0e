"""From rows of the online store to predictions, many at a time: one call of the model for all.

A row without a problem takes a short path; any other is checked feature by feature, so that its
error names what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from math import isfinite
from operator import itemgetter, lt
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from streamflow.errors import MissingFeatures, NoAnswer
from streamflow.serving.feature_status import (
    MISSING,
    Clock,
    EntityRow,
    allowed_ages,
    departed_after,
    feature_readings,
    stale_features_of,
    unseen_values,
)
from streamflow.training.served_model import FeatureSchema, ServedModel

if TYPE_CHECKING:
    from streamflow.registry.records import ModelVersion
    from streamflow.serving.online_store import Plan


# An entity's event timestamps, one per feature view, None where it has no row.
Times = tuple[datetime | None, ...]


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
    """A schema, prepared for the short path: positions of what must be checked.

    `views_of` and `strict` have per feature the position of its view, and whether a null in a row
    is anything but a value that training saw. `may_lack` says per view whether an entity without a
    row has values that training saw: nulls.
    """

    names: tuple[str, ...]
    views: tuple[str, ...]
    required: Callable[[tuple[object, ...]], tuple[object, ...]]
    views_of: tuple[int, ...]
    strict: tuple[bool, ...]
    may_lack: tuple[bool, ...]
    floats: tuple[int, ...]
    categories: tuple[tuple[int, frozenset[object]], ...]
    allowed_ages: tuple[tuple[str, timedelta | None], ...]
    departed_after: timedelta | None

    @staticmethod
    def from_schema(schema: FeatureSchema) -> Needs:
        """The needs of a schema."""
        features, views = schema.features, schema.views
        strict = tuple(not (feature.nullable and feature.null_seen) for feature in features)
        required = [i for i, one in enumerate(strict) if one]
        lacking = {view: True for view in views}
        for feature in features:
            lacking[feature.feature_view] &= feature.absent == "null" and feature.null_seen
        return Needs(
            names=tuple(feature.name for feature in features),
            views=views,
            # itemgetter returns a single item bare; with the first item twice, it returns a tuple.
            required=itemgetter(*required, *required[:1]) if required else lambda values: (),
            views_of=tuple(views.index(feature.feature_view) for feature in features),
            strict=strict,
            may_lack=tuple(lacking.values()),
            floats=tuple(i for i, feature in enumerate(features) if feature.type == "FLOAT64"),
            # Whether a null is one that training saw is checked before.
            categories=tuple(
                (i, frozenset((*feature.categories, None)))
                for i, feature in enumerate(features)
                if feature.type == "STRING"
            ),
            allowed_ages=allowed_ages(schema),
            departed_after=departed_after(schema),
        )

    def fresh(self, times: Times, oldest: tuple[datetime, ...], clock: Clock) -> bool:
        """Whether event timestamps, one per view, are of an entity that is there, with a row that
        isn't before the `oldest` in each view, or without one where the model takes that."""
        if clock.departed(self.views, times, self.departed_after):
            return False
        if None not in times:
            return not any(map(lt, times, oldest))  # type: ignore[arg-type]
        of_views = zip(self.views, times, oldest, self.may_lack, strict=True)
        for view, time, limit, may_lack in of_views:
            known_at = clock.absent_at(view, None, None) if time is None and may_lack else time
            if known_at is None or known_at < limit:
                return False
        return any(time is not None for time in times)

    def met(self, values: tuple[Any, ...]) -> bool:
        """Whether the values are complete, finite and known, so that no feature has a problem."""
        return None not in self.required(values) and self._known(values)

    def met_without(self, times: Times, values: tuple[Any, ...]) -> bool:
        """The same for an entity that has no row, and so no value, in the views without a time."""
        for value, view, strict in zip(values, self.views_of, self.strict, strict=True):
            absent = times[view] is None
            if (value is None) != absent and (absent or strict):
                return False
        return self._known(values)

    def _known(self, values: tuple[Any, ...]) -> bool:
        if MISSING in values:
            return False
        for position, known in self.categories:
            if values[position] not in known:
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

    A view's time is None if the entity has no row there, which the model takes as nulls.
    `stale_views` are those that a warning names.
    """

    entity_id: str
    prediction: int
    probability: float
    features_used: Mapping[str, object]
    model: ModelVersion
    features_as_of: datetime
    feature_times: Mapping[str, datetime | None]
    warnings: tuple[str, ...]
    request_id: str
    stale_views: tuple[str, ...] = ()


class _Times(NamedTuple):
    """Event timestamps by feature view, the oldest of them, and whether values have no problem."""

    by_view: Mapping[str, datetime | None]
    oldest: datetime
    met: Callable[[tuple[Any, ...]], bool]

    @staticmethod
    def if_fresh(
        needs: Needs, times: Times, oldest: tuple[datetime, ...], clock: Clock
    ) -> _Times | None:
        """None if the times aren't `fresh`."""
        if not needs.fresh(times, oldest, clock):
            return None
        met = partial(needs.met_without, times) if None in times else needs.met
        present = min(time for time in times if time is not None)
        return _Times(dict(zip(needs.views, times, strict=True)), present, met)


class _Input(NamedTuple):
    """The model's input for one request, and what the receipt records of it."""

    values: tuple[object, ...]
    times: Mapping[str, datetime | None]
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
    """Per request its prediction, or why there is none: UnknownEntity, Departed, MissingFeatures,
    StaleFeatures, UnseenCategory, UnseenNull."""
    needs, oldest = served.needs, clock.oldest(served.needs.allowed_ages)
    inputs: list[_Input | NoAnswer] = []
    # Most rows are of the same times as the one before; those of entities without a row somewhere
    # are of a few.
    times: Times = ()
    shared: _Times | None = None
    known: dict[Times, _Times | None] = {}
    for request, row in zip(requests, rows, strict=True):
        if row.times != times:
            times = row.times
            if None not in times:
                shared = _Times.if_fresh(needs, times, oldest, clock)
            else:
                if times not in known:
                    known[times] = _Times.if_fresh(needs, times, oldest, clock)
                shared = known[times]
        if shared is not None and shared.met(row.values):
            inputs.append(_Input(row.values, shared.by_view, shared.oldest))
        else:
            inputs.append(_checked(served, request, row, clock, stale_features))
    complete = [one for one in inputs if isinstance(one, _Input)]
    scored = iter(_scores(served, [one.values for one in complete]))
    return [
        one if isinstance(one, NoAnswer) else _prediction(served, request, one, *next(scored))
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
    stale = stale_features_of(readings)
    if stale is not None and stale_features == "refuse":
        return stale
    unseen, warnings = unseen_values(served.schema, readings)
    if unseen is not None:
        return unseen
    times = {
        reading.feature_view: time.astimezone(UTC) if (time := reading.event_timestamp) else None
        for reading in readings
    }
    values = tuple(reading.value for reading in readings)
    as_of = min(time for time in times.values() if time is not None)
    if stale is None:
        return _Input(values, times, as_of, warnings)
    return _Input(values, times, as_of, (stale.message, *warnings), tuple(stale.ages))


def _scores(served: Served, rows: Sequence[tuple[object, ...]]) -> list[tuple[int, float]]:
    if not rows:
        return []
    columns = dict(zip(served.needs.names, zip(*rows, strict=True), strict=True))
    labels, probabilities = served.model.predict(columns)
    if len(labels) != len(rows) or len(probabilities) != len(rows):
        raise ValueError(f"the model returns {len(labels)} labels for {len(rows)} rows")
    return list(zip(labels.tolist(), probabilities.tolist(), strict=True))


def _prediction(
    served: Served,
    request: ScoringRequest,
    model_input: _Input,
    prediction: int,
    probability: float,
) -> Prediction:
    return Prediction(
        request.entity_id,
        prediction,
        probability,
        dict(zip(served.needs.names, model_input.values, strict=True)),
        served.version,
        model_input.as_of,
        model_input.times,
        model_input.warnings,
        request.request_id,
        model_input.stale_views,
    )
