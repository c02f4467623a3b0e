"""An entity's online features, each judged: present, null, missing or stale.

Feast hands out values of any age, and null for whatever it doesn't have; a model that travels with
its needs lets us tell "not applicable" from "not there" and "too old".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from streamflow.errors import UnknownEntity
from streamflow.served_model import Feature, FeatureSchema

if TYPE_CHECKING:
    from streamflow.online import OnlineFeatures, OnlineValue

Status = Literal["present", "null", "missing", "stale"]


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


@dataclass(frozen=True)
class FeatureReading:
    """One feature of one entity. `value` is None where there is none; ages are in seconds."""

    name: str
    feature_view: str
    type: Literal["INT64", "FLOAT64", "BOOL", "STRING"]
    value: Any
    status: Status
    event_timestamp: datetime | None
    age_seconds: float | None
    max_age_seconds: float | None


def references(schema: FeatureSchema) -> list[str]:
    """The schema's features as Feast names them, `view:feature`, in the schema's order."""
    return [f"{feature.feature_view}:{feature.name}" for feature in schema.features]


def read_features(
    online: OnlineFeatures, schema: FeatureSchema, entity_id: str, clock: Clock
) -> list[FeatureReading]:
    """The features of `entity_id` in the schema's order, each with its status and age.

    Raises UnknownEntity if no feature view has a row for it, FeatureStoreUnavailable.
    """
    (values,) = online.read(references(schema), [{schema.join_key: entity_id}])
    return judge(schema, entity_id, values, clock)


def judge(
    schema: FeatureSchema, entity_id: str, values: Sequence[OnlineValue], clock: Clock
) -> list[FeatureReading]:
    """The readings of `values`, which are in the schema's order. Raises UnknownEntity."""
    if not any(value.found for value in values):
        raise UnknownEntity(schema.join_key, entity_id)
    return [
        _reading(feature, value, clock)
        for feature, value in zip(schema.features, values, strict=True)
    ]


def _reading(feature: Feature, stored: OnlineValue, clock: Clock) -> FeatureReading:
    # A row always has an event timestamp: without one it can't be told from no row.
    timestamp = stored.event_timestamp if stored.found else None
    value = stored.value if timestamp is not None else None
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
