"""What a run was joined by, where the use case has it no more; and what the use case has instead.

What it still has, it has as it is defined today: a definition that changed shows in the comparison.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from streamflow.features.feature_join import FeatureJoin, join_of_before
from streamflow.history.history_changes import name_now, recorded_changes
from streamflow.lineage.configuration import Configuration, LabelDefinition
from streamflow.lineage.document import Lineage
from streamflow.postgres.database import Database
from streamflow.use_case import Label, UseCase


def use_case_then(database: Database, use_case: UseCase, recorded: Configuration) -> UseCase:
    """The use case with the recorded label and entity table, if they are gone from its tables."""
    tables = {table.name: table for table in use_case.tables()}
    was = recorded.label
    column = name_now(recorded_changes(database, use_case), f"{was.table}_history", was.column)
    label = use_case.label
    if was.table not in tables or column not in tables[was.table].contract.columns:
        label = Label(was.table, column, timedelta(seconds=was.horizon_seconds))
    entities = use_case.entity_table
    if recorded.entity_table not in tables:
        entities = recorded.entity_table
    return replace(use_case, label=label, entity_table=entities)


def join_then(database: Database, use_case: UseCase, lineage: Lineage) -> FeatureJoin:
    """The join of the run's features; see `join_of_before`."""
    configuration = lineage.configuration
    return join_of_before(
        database,
        use_case,
        lineage.data.known_at,
        configuration.feature_schema,
        configuration.feature_views,
    )


def configuration_today(
    joined: Configuration, use_case: UseCase, join: FeatureJoin
) -> Configuration:
    """The configuration with all that the use case has today, joined or not."""
    label = use_case.label
    schema, views = join.today
    return replace(
        joined,
        entity_table=use_case.entity_table,
        label=LabelDefinition(label.table, label.column, label.horizon.total_seconds()),
        feature_schema=schema,
        feature_views=views,
    )
