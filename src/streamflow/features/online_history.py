"""Which features were online at a moment, told from history alone.

A materialization brings online the newest row of each entity up to its day, of those that were
known when it began; of what several have brought, the newest row stays. So what was online is the
newest row that any of them could see. One that was under way may have ended before or after.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Any

from streamflow.features.feature_store import open_store, unavailable
from streamflow.features.feature_types import typed
from streamflow.postgres.database import Database
from streamflow.postgres.queries import columns, identifier
from streamflow.use_case import UseCase

# An answer is given a moment after its features were read, and clocks differ a little.
_UNSURE = timedelta(seconds=10)


@dataclass(frozen=True)
class Materialization:
    """`finished_at` is None for one that was recorded without it."""

    feature_view: str
    event_timestamp: datetime
    known_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class HistoryRow:
    """A row of history behind an online row, with the values of the features asked for."""

    event_timestamp: datetime
    recorded_at: datetime
    ingestion_id: int
    values: Mapping[str, Any]


# Materializations, by the end of their window and when they knew what they knew.
Together = tuple[tuple[datetime, datetime], ...]


class History:
    """Raises FeatureStoreUnavailable if Feast's registry can't be read."""

    def __init__(self, database: Database, use_case: UseCase) -> None:
        self._database = database
        self._use_case = use_case
        self._materializations = [
            Materialization(**row)
            for row in database.rows("materializations", use_case=use_case.name)
        ]
        store = open_store(database.url, use_case)
        with unavailable("Feast's registry can't be read"):
            self._sources = {view.name: view.batch_source for view in store.list_feature_views()}

    @property
    def feature_views(self) -> set[str]:
        return {*self._sources}

    def possible(self, feature_view: str, moment: datetime) -> Iterator[Together]:
        """What may have been online of the view at `moment` (UTC): first what all materializations
        had brought that had begun, then without those that may have been under way."""
        begun = [
            one
            for one in self._materializations
            if one.feature_view == feature_view and one.known_at <= moment
        ]
        yield _together(begun)
        while begun and begun[-1].finished_at and begun[-1].finished_at + _UNSURE > moment:
            begun.pop()
            yield _together(begun)

    def rows(
        self,
        feature_view: str,
        types: Mapping[str, str],
        entity_ids: Sequence[str],
        together: Together,
    ) -> dict[str, HistoryRow]:
        """Per entity that was online, the row of history that it was, with the values of these
        features, which are given with their types."""
        source = self._sources[feature_view]
        mapped = {feature: column for column, feature in source.field_mapping.items()}
        column_of = {feature: mapped.get(feature, feature) for feature in types}
        names = {
            "history": identifier(self._use_case.name, source.get_table_query_string().strip('"')),
            "key": identifier(self._use_case.join_key),
            "columns": columns(list(column_of.values()), "history"),
        }
        found = self._database.rows(
            "online_rows",
            names,
            entity_ids=list(entity_ids),
            ends=[end for end, _ in together],
            known=[known_at for _, known_at in together],
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


def _as_served(kind: str, value: Any) -> Any:
    """What isn't finite is none to a model, as `serving.reader` has it."""
    value = typed(kind, value)
    return None if isinstance(value, float) and not isfinite(value) else value


def _together(materializations: Sequence[Materialization]) -> Together:
    """Without those that saw nothing that a later one didn't see: as a rule, the last is left."""
    kept: list[tuple[datetime, datetime]] = []
    seen = sorted(((one.known_at, one.event_timestamp) for one in materializations), reverse=True)
    for known_at, end in seen:
        if not kept or end > kept[-1][0]:
            kept.append((end, known_at))
    return tuple(kept)
