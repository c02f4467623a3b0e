"""The values by which rows are divided into segments, as they were at the rows' own as_of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.platform import Platform
from streamflow.postgres.database import Row
from streamflow.postgres.queries import identifier
from streamflow.use_case import Table


def segment_values(
    platform: Platform, segment: str, as_of: date, known_at: datetime, entities: Sequence[str]
) -> list[object] | None:
    """Each entity's value of the column `segment`, a `table.column`: that of its newest row up to
    `as_of`, as known at `known_at` (UTC). None where it is null, or there is no row; None instead
    of a list if nothing of the column was ever loaded.
    """
    use_case = platform.use_case
    table, _, column = segment.partition(".")
    history = Table.history_of(table)
    there = platform.database.rows("history_columns", schema=use_case.name, table=history)
    if column not in {row["column_name"] for row in there}:
        return None
    database = platform.history  # which the join of the month has brought up to date
    names = {
        "key": identifier(use_case.join_key),
        "column": identifier(column),
        "history": known_rows(database, use_case, history, known_at),
    }
    when = {"as_of": as_of, "known_at": known_at}
    values = _by_entity(database.rows("segment_values", names, **when))
    # Nearly all have a row at the as_of: rows before it are looked up of the others alone.
    others = [entity for entity in entities if entity not in values]
    if others:
        before = database.rows("segment_values_before", names, entities=others, **when)
        values = _by_entity(before) | values
    return [values.get(entity) for entity in entities]


def _by_entity(rows: Sequence[Row]) -> dict[str, object]:
    return {row["entity"]: row["value"] for row in rows}
