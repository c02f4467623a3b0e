"""The features that were online at a moment in the past, computed from history alone.

A materialization copies the newest row of each entity up to its day to the online store, of those
rows that were known when it began. After several, an entity has the newest row that any of them
copied. One that was running at the moment may have ended before or after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from streamflow.features.engines.feature_errors import unavailable
from streamflow.features.feature_store import open_store
from streamflow.features.feature_types import typed
from streamflow.features.kept.views import (
    feature_types,
    history_rows,
    is_kept,
    model_view,
    source_table,
    version,
)
from streamflow.history.history_changes import name_now, recorded_changes
from streamflow.postgres.database import Database
from streamflow.postgres.queries import columns, identifier
from streamflow.training.dataset import FeatureValue
from streamflow.use_case import Table, UseCase

if TYPE_CHECKING:
    from feast import FeatureView

# A response is logged a little after its features were read, and clocks differ a little.
_UNCERTAINTY = timedelta(seconds=10)


@dataclass(frozen=True)
class Materialization:
    """A recorded materialization; times in UTC. Old ones have no `finished_at`, and no `newest`."""

    feature_view: str
    event_timestamp: datetime
    known_at: datetime
    finished_at: datetime | None
    newest: datetime | None


@dataclass(frozen=True)
class HistoryRow:
    """A row of history behind an online row, with the values of the requested features."""

    event_timestamp: datetime
    recorded_at: datetime
    ingestion_id: int
    values: Mapping[str, FeatureValue]


class Window(NamedTuple):
    """What a finished materialization copied: rows up to `end` that were known at `known_at` (UTC).

    As `kept`, only those in which all was recorded that models of an older definition need.
    `newest` is the end of the newest month that was online then, None if it wasn't recorded.
    """

    end: datetime
    known_at: datetime
    kept: bool = False
    newest: datetime | None = None


# A state of the online store: the windows of its finished materializations, the last one first.
OnlineState = tuple[Window, ...]


def newest_month(state: OnlineState) -> datetime | None:
    """The end of the newest month that the view had online in this state (UTC), as serving knew
    it; None if it was never materialized."""
    windows = [one for one in state if one.kept] or [*state]
    if windows and windows[0].newest is not None:
        return windows[0].newest
    return max((one.end for one in windows), default=None)


class OnlineHistory:
    """The past states of the online store.

    Raises FeatureStoreUnavailable if Feast's registry can't be read.
    """

    def __init__(self, database: Database, use_case: UseCase) -> None:
        self._database = database
        self._use_case = use_case
        self._materializations = [
            Materialization(**row)
            for row in database.rows("materializations", use_case=use_case.name)
        ]
        self._changes = recorded_changes(database, use_case)
        store = open_store(database.url, use_case)
        with unavailable("Feast's registry can't be read"):
            self._views = store.list_feature_views()

    def knows(self, feature_view: str, types: Mapping[str, str]) -> bool:
        """Whether Feast's registry has the view that a model reads these features of."""
        return self._view(feature_view, types) is not None

    def possible_states(
        self, feature_view: str, types: Mapping[str, str], moment: datetime
    ) -> Iterator[OnlineState]:
        """The states that the view may have had online at `moment` (UTC), for a model that reads
        features of these types.

        The first is after all materializations that had begun. In each next one, one fewer of those
        that may have been running had finished.
        """
        view = self._view(feature_view, types)
        kept = view.name if view is not None and is_kept(view) else None
        begun = [one for one in self._into(feature_view, kept) if one.known_at <= moment]
        yield _state_after(begun, kept)
        while begun and begun[-1].finished_at and begun[-1].finished_at + _UNCERTAINTY > moment:
            begun.pop()
            yield _state_after(begun, kept)

    def _into(self, feature_view: str, kept: str | None) -> list[Materialization]:
        """The materializations into the view's table, or into that of the kept view."""
        if kept is None:
            return [one for one in self._materializations if one.feature_view == feature_view]
        of_its_own = [one.known_at for one in self._materializations if one.feature_view == kept]
        since = min(of_its_own, default=None)
        # Until it was kept, its table was that of the view; both are materialized since.
        return [
            one
            for one in self._materializations
            if one.feature_view == kept
            or (one.feature_view == feature_view and (since is None or one.known_at < since))
        ]

    def _view(self, feature_view: str, types: Mapping[str, str]) -> FeatureView | None:
        """The newest definition of the view that has all that the model reads, as in serving."""
        named = [view for view in self._views if model_view(view) == feature_view]
        return max(
            named,
            key=lambda view: (feature_types(view).items() >= types.items(), version(view)),
            default=None,
        )

    def rows(
        self,
        feature_view: str,
        types: Mapping[str, str],
        entity_ids: Sequence[str],
        state: OnlineState,
    ) -> dict[str, HistoryRow]:
        """The row of history behind the online row, for each of the entities that was online.

        `types` holds the model's type of each requested feature.
        """
        view = self._view(feature_view, types)
        if view is None:
            return {}
        source = view.batch_source
        mapped = {feature: column for column, feature in source.field_mapping.items()}
        history = Table.history_of(source_table(view))
        column_of = {
            feature: name_now(self._changes, history, mapped.get(feature, feature))
            for feature in types
        }
        all_rows = identifier(self._use_case.name, history)
        names = {
            "history": all_rows,
            "kept_rows": history_rows(self._use_case, view) if is_kept(view) else all_rows,
            "key": identifier(self._use_case.join_key),
            "columns": columns(list(column_of.values()), "history"),
        }
        found = self._database.rows(
            "online_rows",
            names,
            entity_ids=list(entity_ids),
            ends=[one.end for one in state],
            known=[one.known_at for one in state],
            kept=[one.kept for one in state],
            last_known=max((one.known_at for one in state), default=None),
            use_case=self._use_case.name,
            history=history,
        )
        return {
            row[self._use_case.join_key]: HistoryRow(
                event_timestamp=row["event_timestamp"],
                recorded_at=row["recorded_at"],
                ingestion_id=row["ingestion_id"],
                values={
                    feature: _as_served(types[feature], row[column])
                    for feature, column in column_of.items()
                },
            )
            for row in found
        }


def _as_served(kind: str, stored: FeatureValue) -> FeatureValue:
    """The value that a model gets: None for a number that isn't finite, as in serving."""
    value = typed(kind, stored)
    return None if isinstance(value, float) and not isfinite(value) else value


def _state_after(materializations: Sequence[Materialization], kept: str | None) -> OnlineState:
    """The state after these, without those whose rows a later one has copied too."""
    windows: list[Window] = []
    for one in sorted(
        materializations, key=lambda one: (one.known_at, one.event_timestamp), reverse=True
    ):
        window = Window(one.event_timestamp, one.known_at, one.feature_view == kept, one.newest)
        if all(window.end > later.end for later in windows if window.kept or not later.kept):
            windows.append(window)
    return tuple(windows)
