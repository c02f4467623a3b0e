"""An entity's online features, each with its status: present, null, absent, missing or stale.

Feast returns values of any age, and null for what it does not have. A model's schema, which travels
with it, distinguishes "not applicable" from "no row", "missing" and "too old".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple

from streamflow.errors import NoAnswer, StaleFeatures, UnknownEntity, UnseenCategory, UnseenNull
from streamflow.training.served_model import Feature, FeatureSchema

Status = Literal["present", "null", "absent", "missing", "stale", "not_recorded"]

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

    It is the newest event timestamp of the feature's own view, which is right for archives and
    month-end batches; or `now`, with `from_now`. `recorded` has, of views whose features aren't
    recorded any more, the newest one at which they were: who had no row then is known, and no more.
    """

    now: datetime
    newest: Mapping[str, datetime]
    from_now: bool = False
    recorded: Mapping[str, datetime] = field(default_factory=dict)

    def age_seconds(self, feature_view: str, event_timestamp: datetime) -> float:
        """Seconds from `event_timestamp` to the clock's moment, never below zero."""
        if self.from_now:
            moment = self.now
        else:
            # A row itself proves that its view is at least as new: it may have arrived since
            # `newest` was read.
            moment = max(self.newest.get(feature_view, event_timestamp), event_timestamp)
        return max((moment - event_timestamp).total_seconds(), 0.0)

    def absent_at(
        self, view: str, event_timestamp: datetime | None, allowed: timedelta | None
    ) -> datetime | None:
        """The newest moment of the view, if an entity whose row is of `event_timestamp` (None: it
        has none) had none then that was young enough; else None.

        So it is None if the view has never been materialized.
        """
        newest = self.recorded.get(view, self.newest.get(view))
        if newest is None or event_timestamp is None or allowed is None:
            return newest if event_timestamp is None else None
        return newest if newest - event_timestamp > allowed else None

    def newest_month(self, views: Iterable[str]) -> datetime | None:
        """The newest month that is in all of these views; None if it isn't known.

        A view that was never materialized says nothing of it, and one whose features aren't
        recorded any more only if all are so.
        """
        known = [view for view in views if view in self.newest]
        recorded = [self.recorded[view] for view in known if view in self.recorded]
        current = [self.newest[view] for view in known if view not in self.recorded]
        return min(current or recorded, default=None)

    def departed(
        self,
        views: Iterable[str],
        times: Iterable[datetime | None],
        allowed: timedelta | None,
    ) -> tuple[datetime, datetime] | None:
        """If the newest of `times`, an entity's event timestamps in these views, is older than the
        newest month by more than `allowed` (None: any age is allowed): both of them."""
        if allowed is None:
            return None
        seen = max((time for time in times if time is not None), default=None)
        month = self.newest_month(views)
        if seen is None or month is None or month - seen <= allowed:
            return None
        return seen, month

    def oldest(self, allowed_ages: Iterable[tuple[str, timedelta | None]]) -> tuple[datetime, ...]:
        """Per feature view, given with the age that it allows, the oldest event timestamp that
        isn't stale."""
        return tuple(self._oldest(view, allowed) for view, allowed in allowed_ages)

    def _oldest(self, view: str, allowed: timedelta | None) -> datetime:
        moment = self.now if self.from_now else self.newest.get(view, _BEFORE_ALL)
        if allowed is None or moment - _BEFORE_ALL <= allowed:
            return _BEFORE_ALL
        return moment - allowed


class Departed(NoAnswer):
    """The entity has left: `last_seen` is the newest month in which it has a row, `newest_month`
    the one that it is compared with."""

    def __init__(self, join_key: str, entity_id: str, last_seen: date, newest_month: date) -> None:
        self.last_seen = last_seen
        self.newest_month = newest_month
        super().__init__(
            f"{join_key} {entity_id!r} was last seen in the month {last_seen}, and has departed "
            f"since: the newest month is {newest_month}.",
            "If it is still there, load its rows of the newest month: `streamflow ingest`, then "
            "`streamflow materialize`.",
        )


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
    """One feature of one entity. `value` is None where there is none; ages are in seconds.

    An absent feature is of an entity without a row: its age is that of the view's newest month.
    """

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

    Raises UnknownEntity if no feature view has a row for it, Departed if the newest of its rows is
    too old.
    """
    times = dict(zip(schema.views, row.times, strict=True))
    if not any(times.values()):
        raise UnknownEntity(schema.join_key, entity_id)
    if departed := clock.departed(schema.views, row.times, departed_after(schema)):
        last_seen, newest_month = (moment.astimezone(UTC).date() for moment in departed)
        raise Departed(schema.join_key, entity_id, last_seen, newest_month)
    absent = absent_views(schema, row, clock)
    return [
        _reading(feature, value, times[feature.feature_view], clock, absent)
        for feature, value in zip(schema.features, row.values, strict=True)
    ]


def departed_after(schema: FeatureSchema) -> timedelta | None:
    """How much older than the newest month an entity's newest row may be; None: any age."""
    seconds = schema.departed_after_seconds
    return timedelta(seconds=seconds) if seconds is not None else None


def absent_views(schema: FeatureSchema, row: EntityRow, clock: Clock) -> dict[str, datetime]:
    """The views in which the entity counts as without a row, where the model takes that as null;
    each with the newest moment of which that is known.

    An entity without a row in any view is none to the model: then there are none.
    """
    nullable = {feature.feature_view for feature in schema.features if feature.absent == "null"}
    if not nullable:
        return {}
    absent: dict[str, datetime] = {}
    for (view, allowed), time in zip(allowed_ages(schema), row.times, strict=True):
        moment = clock.absent_at(view, time, allowed) if view in nullable else None
        if moment is not None:
            absent[view] = moment
    return {} if len(absent) == len(row.times) else absent


def _reading(
    feature: Feature,
    value: object,
    timestamp: datetime | None,
    clock: Clock,
    absent: Mapping[str, datetime],
) -> FeatureReading:
    moment = absent.get(feature.feature_view)
    if value is MISSING or moment is not None:
        timestamp = None
    if timestamp is None:
        value = None
    if isinstance(value, float) and not math.isfinite(value):
        value = None  # neither a model nor JSON has a meaning for it
    known_at = timestamp if moment is None else moment
    age = clock.age_seconds(feature.feature_view, known_at) if known_at is not None else None
    status: Status
    if age is None or (value is None and not feature.nullable and moment is None):
        status = "missing"
    elif feature.max_age_seconds is not None and age > feature.max_age_seconds:
        status = "stale"
    elif moment is not None:
        status = "absent"
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


def unseen_values(
    schema: FeatureSchema, readings: Sequence[FeatureReading]
) -> tuple[NoAnswer | None, tuple[str, ...]]:
    """Why the values of the readings have no prediction, as training never saw the first of them;
    and the warnings of those that have one."""
    warnings: list[str] = []
    for feature, reading in zip(schema.features, readings, strict=True):
        value = reading.value
        if value is None:
            seen = feature.null_seen
        else:
            seen = feature.type != "STRING" or value in feature.categories
        if seen or feature.unseen == "other":
            continue
        problem = (
            UnseenNull(feature.name) if value is None else UnseenCategory(feature.name, str(value))
        )
        if feature.unseen == "refuse":
            return problem, ()
        warnings.append(problem.message)
    return None, tuple(warnings)


def stale_features_of(readings: Sequence[FeatureReading]) -> StaleFeatures | None:
    """The error that tells, per feature view, the feature furthest beyond its allowed age."""
    ages: dict[str, tuple[float, float]] = {}
    for reading in readings:
        age, allowed = reading.age_seconds, reading.max_age_seconds
        if reading.status != "stale" or age is None or allowed is None:
            continue
        worst = ages.get(reading.feature_view)
        if worst is None or age - allowed > worst[0] - worst[1]:
            ages[reading.feature_view] = (age, allowed)
    return StaleFeatures(ages) if ages else None
