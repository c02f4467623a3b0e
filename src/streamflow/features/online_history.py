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

from streamflow.features.feature_store import open_store, unavailable
from streamflow.features.feature_types import typed
from streamflow.features.kept.views import source_table
from streamflow.history.history_changes import name_now, recorded_changes
from streamflow.postgres.database import Database
from streamflow.postgres.queries import columns, identifier
from streamflow.training.dataset import FeatureValue
from streamflow.use_case import Table, UseCase

# A response is logged a little after its features were read, and clocks differ a little.
_UNCERTAINTY = timedelta(seconds=10)


@dataclass(frozen=True)
class Materialization:
    """A recorded materialization; times in UTC. Old ones have no `finished_at`."""

    feature_view: str
    event_timestamp: datetime
    known_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class HistoryRow:
    """A row of history behind an online row, with the values of the requested features."""

    event_timestamp: datetime
    recorded_at: datetime
    ingestion_id: int
    values: Mapping[str, FeatureValue]


# A state of the online store: per finished materialization the end of its window and its known_at.
OnlineState = tuple[tuple[datetime, datetime], ...]


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
            self._views = {view.name: view for view in store.list_feature_views()}

    @property
    def feature_views(self) -> set[str]:
        """The names of the feature views in Feast's registry."""
        return {*self._views}

    def possible_states(self, feature_view: str, moment: datetime) -> Iterator[OnlineState]:
        """The states that the view may have had online at `moment` (UTC).

        The first is after all materializations that had begun. In each next one, one fewer of those
        that may have been running had finished.
        """
        begun = [
            one
            for one in self._materializations
            if one.feature_view == feature_view and one.known_at <= moment
        ]
        yield _state_after(begun)
        while begun and begun[-1].finished_at and begun[-1].finished_at + _UNCERTAINTY > moment:
            begun.pop()
            yield _state_after(begun)

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
        view = self._views[feature_view]
        source = view.batch_source
        mapped = {feature: column for column, feature in source.field_mapping.items()}
        history = Table.history_of(source_table(view))
        column_of = {
            feature: name_now(self._changes, history, mapped.get(feature, feature))
            for feature in types
        }
        names = {
            "history": identifier(self._use_case.name, history),
            "key": identifier(self._use_case.join_key),
            "columns": columns(list(column_of.values()), "history"),
        }
        found = self._database.rows(
            "online_rows",
            names,
            entity_ids=list(entity_ids),
            ends=[end for end, _ in state],
            known=[known_at for _, known_at in state],
            last_known=max((known_at for _, known_at in state), default=None),
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


def _state_after(materializations: Sequence[Materialization]) -> OnlineState:
    """The state after these, without those whose rows a later one has copied too."""
    windows: list[tuple[datetime, datetime]] = []
    newest_first = sorted(
        ((one.known_at, one.event_timestamp) for one in materializations), reverse=True
    )
    for known_at, end in newest_first:
        if not windows or end > windows[-1][0]:
            windows.append((end, known_at))
    return tuple(windows)
