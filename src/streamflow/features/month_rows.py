"""Everyone of a month with their features, in batches: what a scoring of all of them reads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from streamflow.features.engines.row_columns import row_batch
from streamflow.features.engines.spark_history import SparkHistory
from streamflow.features.feature_join import FeatureJoin, join_of_today
from streamflow.history.as_of import event_timestamp
from streamflow.history.history_changes import require_history
from streamflow.history.months import require_month
from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import identifier
from streamflow.use_case import Table, UseCase

if TYPE_CHECKING:
    import pyarrow as pa


def month_rows(
    database: Database,
    use_case: UseCase,
    as_of: date,
    known_at: datetime,
    join: FeatureJoin | None = None,
) -> Iterator[pa.RecordBatch]:
    """The entities with a row at `as_of`, with the features that the online store would have of
    them then, as known at `known_at` (UTC).

    Features are joined as the use case has them today, or by `join`: as `join_of_before` makes it
    for the features that a version's run has recorded. Batches ascend by entity, by the bytes of
    its id, and have at least one row each; memory doesn't grow with their number. Their columns are
    the entity (large_string), each feature of the join's schema by its name and in its order
    (large_string, int64, double or bool), and per feature view, by the name that `time_of` gives,
    the event timestamp of the row that the features come from (timestamp in microseconds, UTC).
    That is the newest one at `as_of` or before, of whatever age: nothing is left out for its age or
    for nulls. It is null where the entity has no row in the view; then its features are null too.
    Raises AsOfRefused if the month has no rows, and FeatureStoreUnavailable.
    """
    query = _entities(database, use_case, as_of, known_at)
    join = join or join_of_today(database, use_case, known_at)
    batches = join.batches(query, event_timestamp(as_of))
    return (row_batch(batch, join.schema) for batch in batches if batch.num_rows)


def month_frame(
    history: SparkHistory,
    use_case: UseCase,
    as_of: date,
    known_at: datetime,
    join: FeatureJoin,
    without: pa.Table,
) -> tuple[Any, int]:
    """The rows of `month_rows` in Spark, without the entities in the first column of `without`: a
    data frame whose batches `row_columns.row_batch` takes, in no order, and how many rows there
    are. Raises as `month_rows`."""
    query = _entities(history, use_case, as_of, known_at)
    left, rows = history.without(query, use_case.join_key, without)
    return join.frame(left, event_timestamp(as_of)), rows


def _entities(database: Database, use_case: UseCase, as_of: date, known_at: datetime) -> str:
    database.execute("wait_for_ingestion", use_case=use_case.name)
    require_month(database, use_case, as_of, known_at)
    require_history(database, use_case)
    names = {
        "key": identifier(use_case.join_key),
        "history": known_rows(
            database, use_case, Table.history_of(use_case.entity_table), known_at
        ),
    }
    return database.render("entities_at", names, as_of=as_of, known_at=known_at)
