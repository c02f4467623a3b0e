"""The rows of history that feature views of older definitions are materialized from.

A row counts in which all of the features were recorded that their models need, as they need them:
an entity keeps its last such row, which grows old. So no model takes what isn't recorded any more
for a null, nor a value that it can't know for one that it knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from streamflow.features.engines.feature_errors import unavailable
from streamflow.features.feature_store import quiet
from streamflow.features.kept.views import (
    feature_types,
    is_kept,
    kept_view,
    needed_features,
    source_table,
)
from streamflow.history.columns_before import is_whole, whole_number
from streamflow.history.history_changes import name_now
from streamflow.history.recorded_columns import recorded_columns
from streamflow.postgres.database import Database
from streamflow.postgres.queries import quoted
from streamflow.use_case import Table, UseCase

if TYPE_CHECKING:
    from feast import FeatureStore

_KEYS = ("event_timestamp", "recorded_at", "ingestion_id")


def follow_history(database: Database, use_case: UseCase, store: FeatureStore) -> None:
    """Bring the sources of kept views to what history is now, in Feast's registry.

    Raises FeatureStoreUnavailable.
    """
    with unavailable("Feast's registry can't be changed"), quiet():
        for view in store.list_feature_views():
            if not is_kept(view):
                continue
            rows = recorded_rows(
                database,
                use_case,
                source_table(view),
                feature_types(view),
                needed_features(view),
            )
            if view.batch_source.get_table_query_string() != f"({rows})":
                store.apply([kept_view(view, store.list_entities(), view.name, [], rows)])


def recorded_rows(
    database: Database,
    use_case: UseCase,
    table: str,
    types: Mapping[str, str],
    needed: Sequence[str],
) -> str:
    """The query of the rows of a table's history in which the `needed` features were recorded, with
    features of these model types by the names that their columns have had at any time."""
    history = Table.history_of(table)
    recorded = recorded_columns(database, use_case)
    found = database.rows("history_columns", schema=use_case.name, table=history)
    existing = {row["column_name"]: row["data_type"] for row in found}
    now = {feature: name_now(recorded.changes, history, feature) for feature in types}
    selected = [quoted(one) for one in (use_case.join_key, *_KEYS)]
    conditions: list[str] = []
    for feature, kind in types.items():
        column, condition = quoted(now[feature]), ""
        value = column
        if kind == "INT64" and existing.get(now[feature]) == "double precision":
            # A number that isn't whole can't be told to a model that knows whole numbers.
            value = whole_number(column)
            condition = f"({column} IS NULL OR {is_whole(column)})"
        selected.append(f"{value} AS {quoted(feature)}")
        if condition and feature in needed:
            conditions.append(condition)
    without = recorded.not_recorded(history, [now[feature] for feature in needed])
    if without:
        conditions.append(f"ingestion_id NOT IN ({', '.join(map(str, sorted(without)))})")
    rows = f"SELECT {', '.join(selected)} FROM {quoted(use_case.name)}.{quoted(history)}"
    return f"{rows} WHERE {' AND '.join(conditions)}" if conditions else rows
