"""Feast's store as of a moment of knowing: what was recorded by then, and not withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from streamflow.features.feature_store import open_store, unavailable
from streamflow.features.kept_views import source_table
from streamflow.history.ingestions import recorded_ingestions
from streamflow.history.known_rows import known_condition
from streamflow.postgres.database import Database
from streamflow.use_case import Table, UseCase

if TYPE_CHECKING:
    from feast import FeatureStore


def known_store(
    database: Database,
    use_case: UseCase,
    known_at: datetime,
    online_store: Mapping[str, object] | None = None,
) -> FeatureStore:
    """Feast's store of what was known at `known_at` (UTC); see `feature_store.configuration`.

    Raises FeatureStoreUnavailable without Feast's registry.
    """
    store = open_store(database.url, use_case, known_at, online_store)
    with unavailable("Feast doesn't know the feature views"):
        views = store.list_feature_views()
    tables = {view.batch_source.name: source_table(view) for view in views}
    # A run of before may be joined from a table that no view has any more.
    for one in recorded_ingestions(database, use_case):
        tables |= {table: table for table in one.tables}
    conditions = {
        source: known_condition(database, use_case, Table.history_of(table), known_at)
        for source, table in tables.items()
    }
    store.config.offline_store.conditions = {
        source: condition for source, condition in conditions.items() if condition is not None
    }
    return store
