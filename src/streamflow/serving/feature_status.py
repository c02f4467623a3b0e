"""An entity's online features, each with its status: present, null, missing or stale.

Feast returns values of any age, and null for what it does not have. A model's schema, which travels
with it, distinguishes "not applicable" from "missing" and "too old".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from streamflow.errors import UnknownEntity
from streamflow.training.served_model import Feature, FeatureSchema

Status = Literal["present", "null", "missing", "stale"]

# In a row's values: the view has a row for the entity, but this feature was never written to it.
MISSING = object()

_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


class EntityRow(NamedTuple):
    """What the online store has for one entity.

    `times` are event timestamps (UTC), one per `schema.views`, None where the view has no row;
    `values` are in the schema's order, None for a stored null, MISSING for what was never written.
    """

    times: tuple[datetime | None, ...]
    values: tuple[object, ...]


@dataclass(frozen=True)
class Clock:
    """The moment, in UTC, that a feature's age is measured from.

    It is `now`; or, with `newest` given, the newest event timestamp of the feature's own view,
    which is right for archives and month-end batches.
    """

    now: datetime
    newest: Mapping[str, datetime] | None = None

    def age_seconds(self, feature_view: str, event_timestamp: datetime) -> float:
        """Seconds from `event_timestamp` to the clock's moment, never below zero."""
        if self.newest is None:
            moment = self.now
        else:
            # A row itself proves that its view is at least as new: it may have arrived since
            # `newest` was read.
            moment = max(self.newest.get(feature_view, event_timestamp), event_timestamp)
        return max((moment - event_timestamp).total_seconds(), 0.0)

    def oldest(self, allowed_ages: Iterable[tuple[str, timedelta | None]]) -> tuple[datetime, ...]:
        """Per feature view, given with the age that it allows, the oldest event timestamp that
        isn't stale."""
        return tuple(self._oldest(view, allowed) for view, allowed in allowed_ages)

    def _oldest(self, view: str, allowed: timedelta | None) -> datetime:
        moment = self.now if self.newest is None else self.newest.get(view, _BEFORE_ALL)
        if allowed is None or moment - _BEFORE_ALL <= allowed:
            return _BEFORE_ALL
        return moment - allowed


def allowed_ages(schema: FeatureSchema) -> tuple[tuple[str, timedelta | None], ...]:
    """Per `schema.views`, its name and the least age that a feature of it allows."""
    allowed: dict[str, float] = {}
    for feature in schema.features:
        if feature.max_age_seconds is not None:
            least = allowed.get(feature.feature_view, feature.max_age_seconds)
            allowed[feature.feature_view] = min(least, feature.max_age_seconds)
    return tuple(
        (view, timedelta(seconds=allowed[view]) if view in allowed else None)
        for view in schema.views
    )


@dataclass(frozen=True)
class FeatureReading:
    """One feature of one entity. `value` is None where there is none; ages are in seconds."""

    name: str
    feature_view: str
    type: Literal["INT64", "FLOAT64", "BOOL", "STRING"]
    value: object
    status: Status
    event_timestamp: datetime | None
    age_seconds: float | None
    max_age_seconds: float | None


def feature_readings(
    schema: FeatureSchema, entity_id: str, row: EntityRow, clock: Clock
) -> list[FeatureReading]:
    """The features of `entity_id` in the schema's order, each with its status and age.

    Raises UnknownEntity if no feature view has a row for it.
    """
    times = dict(zip(schema.views, row.times, strict=True))
    if not any(times.values()):
        raise UnknownEntity(schema.join_key, entity_id)
    return [
        _reading(feature, value, times[feature.feature_view], clock)
        for feature, value in zip(schema.features, row.values, strict=True)
    ]


def _reading(
    feature: Feature, value: object, timestamp: datetime | None, clock: Clock
) -> FeatureReading:
    if value is MISSING:
        timestamp = None
    if timestamp is None:
        value = None
    if isinstance(value, float) and not math.isfinite(value):
        value = None  # neither a model nor JSON has a meaning for it
    age = clock.age_seconds(feature.feature_view, timestamp) if timestamp is not None else None
    status: Status
    if age is None or (value is None and not feature.nullable):
        status = "missing"
    elif feature.max_age_seconds is not None and age > feature.max_age_seconds:
        status = "stale"
    else:
        status = "null" if value is None else "present"
    return FeatureReading(
        name=feature.name,
        feature_view=feature.feature_view,
        type=feature.type,
        value=value,
        status=status,
        event_timestamp=timestamp,
        age_seconds=age,
        max_age_seconds=feature.max_age_seconds,
    )
