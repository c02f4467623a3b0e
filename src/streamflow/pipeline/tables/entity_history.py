"""What was ever recorded of one entity, on both time axes."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from streamflow.history.history_table import existing_columns, history_table
from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.platform import Platform
from streamflow.postgres.queries import columns, identifier

if TYPE_CHECKING:
    import pyarrow as pa

# Of every history; what the table says comes after them.
_TIMES = ("as_of", "recorded_at", "ingestion_id")


def entity_history(
    platform: Platform, entity_id: str, known_at: datetime | None = None
) -> dict[str, pa.Table]:
    """Per table of the use case the rows of the entity, by as_of and recorded_at.

    Without `known_at` (UTC), that is every row that was recorded, also those that were corrected or
    withdrawn later; with it, the rows that counted then. The columns are the key, `as_of` (date),
    `recorded_at` (timestamp, UTC), `ingestion_id` and those of the table. A table that has no row
    of the entity is empty; one that was never ingested isn't there.
    """
    import pyarrow as pa

    database, use_case = platform.database, platform.use_case
    key, found = use_case.join_key, {}
    for table in use_case.tables():
        types = existing_columns(database, use_case, table)
        if not types:
            continue
        content = [name for name in types if name not in (key, *_TIMES, "event_timestamp")]
        names = [key, *_TIMES, *content]
        history = history_table(use_case, table)
        if known_at is not None:
            history = known_rows(database, use_case, table.history, known_at)
        rows = database.rows(
            "history_of_entity",
            {"columns": columns(names), "history": history, "key": identifier(key)},
            entity_id=entity_id,
            known_at=known_at,
        )
        schema = pa.schema([(name, _arrow_types()[types[name]]) for name in names])
        found[table.name] = pa.Table.from_pylist(rows, schema)
    return found


def _arrow_types() -> dict[str, Any]:
    """By PostgreSQL's names of the types that a history has."""
    import pyarrow as pa

    return {
        "text": pa.large_string(),
        "bigint": pa.int64(),
        "double precision": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp with time zone": pa.timestamp("us", "UTC"),
    }
