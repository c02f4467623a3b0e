"""What a run was joined by, where the use case has it no more; and what the use case has instead.

What it still has, it has as it is defined today: a definition that changed shows in the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from streamflow.features import point_in_time
from streamflow.features.entity_sample import EntitySample
from streamflow.features.feature_join import FeatureJoin, join_of_before
from streamflow.features.point_in_time import Assembled
from streamflow.history.history_changes import name_now, recorded_changes
from streamflow.lineage.configuration import Configuration, LabelDefinition
from streamflow.lineage.document import Lineage
from streamflow.postgres.database import Database
from streamflow.use_case import Table, UseCase


@dataclass(frozen=True)
class Then:
    """The rows of a run, the join that they come from, and the use case with what is gone of it."""

    use_case: UseCase
    join: FeatureJoin
    assembled: Assembled

    def configuration_today(self, joined: Configuration, use_case: UseCase) -> Configuration:
        """The configuration with all that the use case has today, joined or not."""
        schema, views = self.join.today
        return replace(
            joined,
            entity_table=use_case.entity_table,
            label=LabelDefinition.of(use_case.label),
            feature_schema=schema,
            feature_views=views,
        )


def assemble(database: Database, use_case: UseCase, lineage: Lineage) -> Then:
    """The run's rows as history has them. Raises as `point_in_time.assemble` does."""
    data, size = lineage.data, lineage.configuration.sample
    return assemble_months(
        database,
        use_case,
        lineage.configuration,
        data.every_month,
        data.known_at,
        EntitySample(size, data.sample_bound) if size is not None else None,
    )


def assemble_months(
    database: Database,
    use_case: UseCase,
    configuration: Configuration,
    months: Sequence[date],
    known_at: datetime,
    sample: EntitySample | None = None,
) -> Then:
    """The rows of these months with a run's features, as known at `known_at` (UTC); of the
    entities of `sample` alone, if it is given. Raises as `point_in_time.assemble` does."""
    then = _with_recorded(database, use_case, configuration)
    join = join_of_before(
        database,
        use_case,
        known_at,
        configuration.feature_schema,
        configuration.feature_views,
    )
    rows = point_in_time.assemble(database, then, months, known_at, join, sample)
    return Then(then, join, rows)


def _with_recorded(database: Database, use_case: UseCase, recorded: Configuration) -> UseCase:
    """The use case with the recorded label and entity table, if they are gone from its tables."""
    tables = {table.name: table for table in use_case.tables()}
    was, history = recorded.label, Table.history_of(recorded.label.table)
    column = name_now(recorded_changes(database, use_case), history, was.column)
    label, entities = use_case.label, use_case.entity_table
    if was.table not in tables or column not in tables[was.table].contract.columns:
        label = replace(was.label, column=column)
    if recorded.entity_table not in tables:
        entities = recorded.entity_table
    return replace(use_case, label=label, entity_table=entities)
