"""The features that entities were scored by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from streamflow.errors import ModelRefused
from streamflow.features import month_rows
from streamflow.features.engines.row_columns import time_of
from streamflow.lineage.judged_version import join_of
from streamflow.platform import Platform
from streamflow.registry.records import ModelVersion
from streamflow.scores.scorings import Scoring
from streamflow.serving.feature_status import allowed_ages
from streamflow.training.served_model import FeatureSchema, ServedModel

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
    platform: Platform,
    version: ModelVersion,
    model: ServedModel,
    scoring: Scoring,
    wanted: set[str],
) -> ScoredRows:
    """The wanted entities' features, as the version has them at the scoring's month.

    Raises CannotBeExplained if one of them isn't there any more, UnservableModel if a feature
    isn't, FeatureStoreUnavailable.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    batches = month_rows.month_rows(
        platform.history,
        platform.use_case,
        scoring.as_of,
        scoring.known_at,
        join_of(platform, version, model, scoring.known_at),
    )
    ids = pa.array(sorted(wanted), pa.large_string())
    schema = model.schema
    newest: dict[str, datetime] = {}
    kept = []
    for batch in batches:
        for view in schema.views:
            if (moment := pc.max(batch.column(time_of(view))).as_py()) is not None:
                newest[view] = max(moment, newest.get(view, moment))
        table = pa.Table.from_batches([batch])
        kept.append(table.filter(pc.is_in(table.column(0), value_set=ids)))
    table = without_outdated(pa.concat_tables(kept).combine_chunks(), schema, newest)
    entities = table.column(0).to_pylist()
    if len(entities) != len(wanted):
        gone = min(wanted.difference(entities))
        raise CannotBeExplained(
            f"{len(wanted) - len(entities):,} entities that were scored at AS_OF {scoring.as_of} "
            f"aren't in history any more, such as {gone!r}.",
            f"Score again: `streamflow score --as-of {scoring.as_of}`.",
        )
    return ScoredRows(entities, table)


def without_outdated(
    table: pa.Table, schema: FeatureSchema, newest: Mapping[str, datetime]
) -> pa.Table:
    """The table with nulls where an entity's row is so old that it counts as none.

    That is so in a view whose features are null for an entity without a row, if the row is older
    than the view's `newest` event timestamp (UTC) by more than its features allow.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    nulled = {one.feature_view for one in schema.features if one.absent == "null"}
    for view, allowed in allowed_ages(schema):
        if view not in nulled or view not in newest or allowed is None:
            continue
        limit = pa.scalar(newest[view] - allowed, pa.timestamp("us", "UTC"))
        outdated = pc.fill_null(pc.less(table[time_of(view)], limit), False)
        for feature in schema.features:
            if feature.feature_view == view:
                column = table[feature.name]
                values = pc.if_else(outdated, pa.scalar(None, column.type), column)
                place = table.schema.get_field_index(feature.name)
                table = table.set_column(place, feature.name, values)
    return table
