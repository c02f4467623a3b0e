"""The features that entities were scored by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from streamflow.errors import ModelRefused
from streamflow.features import month_rows
from streamflow.features.feature_join import FeatureJoin, join_of_before
from streamflow.lineage.judged_version import JudgedVersion
from streamflow.platform import Platform
from streamflow.scores.scorings import Scoring

if TYPE_CHECKING:
    import pyarrow as pa


class CannotBeExplained(ModelRefused):
    """A version whose scores have no exact reasons, or not any more."""


@dataclass(frozen=True)
class ScoredRows:
    """The features of entities by their names, in the order of `entities`."""

    entities: Sequence[str]
    table: pa.Table

    def of(self, wanted: Sequence[str]) -> pa.Table:
        """The rows of these entities, in their order."""
        place = {entity: number for number, entity in enumerate(self.entities)}
        return self.table.take([place[entity] for entity in wanted])


def scored_rows(
    platform: Platform, judged: JudgedVersion, scoring: Scoring, wanted: set[str]
) -> ScoredRows:
    """The wanted entities' features, as the version has them at the scoring's month.

    Raises CannotBeExplained if one of them isn't there any more, FeatureStoreUnavailable.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    batches = month_rows.month_rows(
        platform.database,
        platform.use_case,
        scoring.as_of,
        scoring.known_at,
        _join(platform, judged, scoring.known_at),
    )
    ids = pa.array(sorted(wanted), pa.large_string())
    names = [judged.model.schema.join_key, *(one.name for one in judged.model.schema.features)]
    kept = [
        pa.Table.from_batches([batch])
        .filter(pc.is_in(batch.column(0), value_set=ids))
        .select(names)
        for batch in batches
    ]
    table = pa.concat_tables(kept).combine_chunks()
    entities = table.column(0).to_pylist()
    if len(entities) != len(wanted):
        gone = min(wanted.difference(entities))
        raise CannotBeExplained(
            f"{len(wanted) - len(entities):,} entities that were scored at AS_OF {scoring.as_of} "
            f"aren't in history any more, such as {gone!r}.",
            f"Score again: `streamflow score --as-of {scoring.as_of}`.",
        )
    return ScoredRows(entities, table)


def _join(platform: Platform, judged: JudgedVersion, known_at: datetime) -> FeatureJoin | None:
    if judged.recorded is None:
        return None
    configuration = judged.recorded.lineage.configuration
    return join_of_before(
        platform.database,
        platform.use_case,
        known_at,
        configuration.feature_schema,
        configuration.feature_views,
    )
