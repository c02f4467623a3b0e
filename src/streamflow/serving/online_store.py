"""What reads online features, whatever store they are in.

A store prepares what to read for a model once (`plan`), and then reads it for any ids.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Protocol

from streamflow.errors import UnservableModel
from streamflow.postgres.database import Database
from streamflow.serving.callbacks import Callback
from streamflow.serving.feature_status import EntityRow
from streamflow.training.served_model import Feature, FeatureSchema
from streamflow.use_case import UseCase

# What a store's `plan` returns. Only the same store knows its type; all others pass it on.
Plan = Any


# By feature view in Feast's registry and as_of: the features that none of the month's files had.
NotRecorded = Mapping[str, Mapping[date, Collection[str]]]


class OnlineStore(Protocol):
    """Online features by entity."""

    def newest_event_timestamps(self) -> dict[str, datetime]:
        """Per feature view, the event timestamp (UTC) of the newest month materialized."""

    def not_recorded(self) -> NotRecorded:
        """What a null means: the features that whole months hadn't recorded."""

    def plan(self, schema: FeatureSchema) -> Plan:
        """What to read. Raises UnservableModel for the first feature that is missing or of another
        type."""

    def require_values(self, plan: Plan) -> None:
        """Raise UnservableModel if no entity has a value yet of some of the features, and all of
        the others are there: they haven't been materialized since they are new."""

    def kept_views(self, plan: Plan) -> dict[str, str]:
        """By feature view the name, among `newest_event_timestamps`, under which its rows are
        materialized if they are of an older definition."""

    def read(self, plan: Plan, entity_ids: Sequence[str]) -> list[EntityRow]:
        """A row per id, in their order. Raises FeatureStoreUnavailable, or UnservableModel if the
        store has changed since the plan was made."""

    def connect(self, on_change: Callable[[], None]) -> OnlineConnection:
        """A connection that reads without blocking the running event loop; it must be opened."""


class OnlineConnection(Protocol):
    """Reads for one caller at a time.

    `connected` and `idle` may change at any time; then `on_change` of `connect` is called.
    """

    @property
    def connected(self) -> bool:
        """Whether the store can be reached."""

    @property
    def idle(self) -> bool:
        """Whether it is connected and no read is in progress."""

    def open(self, patience_seconds: float) -> Awaitable[None]:
        """Connect, for at most `patience_seconds`; then attempts go on in the background."""

    def close(self) -> Awaitable[None]:
        """Close; a read in progress fails."""

    def send(
        self, plan: Plan, entity_ids: Sequence[str], callback: Callback[list[EntityRow]]
    ) -> None:
        """Read a row per id; `callback` receives them, or the reason why there are none."""


def newest_materialized(database: Database, use_case: UseCase) -> dict[str, datetime]:
    """Per feature view, the newest event timestamp (UTC) of all recorded materializations."""
    rows = database.rows("newest_materialized", use_case=use_case.name)
    return {row["feature_view"]: row["event_timestamp"] for row in rows}


def newest_not_recorded(database: Database, use_case: UseCase) -> NotRecorded:
    """What the newest materialization of each view has recorded of that."""
    rows = database.rows("newest_not_recorded", use_case=use_case.name)
    return {
        row["feature_view"]: {
            date.fromisoformat(as_of): names for as_of, names in row["not_recorded"].items()
        }
        for row in rows
    }


def other_type(feature: Feature, found: str | None) -> UnservableModel:
    """The error for a feature that the store has in another type (None: not at all)."""
    return UnservableModel(
        f"The model needs {feature.feature_view}:{feature.name} as {feature.type}, "
        f"the feature store has {found or 'no such feature'}.",
        "Bring the definitions back with `streamflow apply`, or train again.",
    )
