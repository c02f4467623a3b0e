"""History as it was defined before: columns by the names and types that they had then."""

from __future__ import annotations

from collections.abc import Mapping

from streamflow.errors import InvalidSettings
from streamflow.history.history_changes import name_now, recorded_changes
from streamflow.postgres.database import Database
from streamflow.postgres.queries import quoted
from streamflow.use_case import UseCase

# As far as whole numbers are told apart in a number with a point.
_EXACT = 2**53
_TIMES = ("event_timestamp", "recorded_at")


def rows_as_before(
    database: Database, use_case: UseCase, history: str, types: Mapping[str, str]
) -> str:
    """SQL of a history table's rows: the key, both times, the ingestion, and the columns in `types`
    by the names and PostgreSQL types that they had.

    A value that the type of then can't hold, such as 2.5 in whole numbers, is null. Raises
    InvalidSettings if a column isn't there by any name.
    """
    changes = recorded_changes(database, use_case)
    existing = {
        row["column_name"]: row["data_type"]
        for row in database.rows("history_columns", schema=use_case.name, table=history)
    }
    selected = [quoted(name) for name in (use_case.join_key, *_TIMES, "ingestion_id")]
    for name, wanted in types.items():
        now = name_now(changes, history, name)
        if now not in existing:
            raise InvalidSettings(
                f"History has no column {use_case.name}.{history}.{now}.",
                "Restore it from a backup: a column of history is never dropped.",
            )
        selected.append(f"{_typed(quoted(now), existing[now], wanted)} AS {quoted(name)}")
    return f"SELECT {', '.join(selected)} FROM {quoted(use_case.name)}.{quoted(history)}"


def _typed(column: str, found: str, wanted: str) -> str:
    if (found, wanted) == ("double precision", "bigint"):
        return whole_number(column)
    return column if found == wanted else f"{column}::{wanted}"


def whole_number(column: str) -> str:
    """SQL of a number with a point as a whole one, null where it isn't one."""
    return f"CASE WHEN {is_whole(column)} THEN {column}::bigint END"


def is_whole(column: str) -> str:
    """SQL of whether a number with a point is a whole one, told apart from its neighbours."""
    # Of floor() all engines make the same; trunc() is one of dates in Spark.
    return f"{column} = floor({column}) AND {column} BETWEEN {-_EXACT} AND {_EXACT}"
