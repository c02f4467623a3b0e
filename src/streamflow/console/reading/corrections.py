"""Rows of a month that were corrected later, on both time axes: of which day, and learned when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from streamflow.console.parts import ConsoleParts
from streamflow.postgres.queries import identifier
from streamflow.use_case import Table

PAGE = 50


@dataclass(frozen=True)
class Changed:
    """A column of a row whose value is another one than was known before."""

    column: str
    before: Any
    now: Any


@dataclass(frozen=True)
class Correction:
    """A row that replaced another one of the same entity and day. Times are in UTC."""

    entity_id: str
    recorded_at: datetime
    recorded_before: datetime
    ingestion_id: int
    changed: Sequence[Changed]


@dataclass(frozen=True)
class KnownVersion:
    """What was known of an entity's day from `recorded_at` (UTC) on; `content` is by column."""

    as_of: date
    recorded_at: datetime
    ingestion_id: int
    withdrawn: bool
    content: Mapping[str, Any]


def history_tables(parts: ConsoleParts) -> list[str]:
    """The names of the tables that have a history, without that ending."""
    rows = parts.reading.rows("history_tables", schema=parts.use_case.name)
    return sorted(row["table_name"].removesuffix("_history") for row in rows)


def corrections(
    parts: ConsoleParts, table: str, as_of: date, after: str
) -> tuple[list[Correction], str | None]:
    """The table's corrected rows of the day, by the entities after one; and where the next page
    begins, None at the end. `table` is one of `history_tables`."""
    rows = parts.reading.rows(
        "corrected_rows",
        _names(parts, table),
        **_values(parts),
        as_of=as_of,
        after=after,
        most=PAGE,
    )
    found = [
        Correction(
            row["entity_id"],
            row["recorded_at"],
            row["recorded_before"],
            row["ingestion_id"],
            [
                Changed(column, row["before"].get(column), value)
                for column, value in sorted(row["now"].items())
                if value != row["before"].get(column)
            ],
        )
        for row in rows
    ]
    return found, found[-1].entity_id if len(rows) >= PAGE else None


def known_versions(parts: ConsoleParts, table: str, entity_id: str) -> list[KnownVersion]:
    """All rows of the entity in the table, newest day first, and of a day what was learned last
    first; withdrawn ones among them."""
    rows = parts.reading.rows(
        "known_versions", _names(parts, table), **_values(parts), entity_id=entity_id
    )
    return [KnownVersion(**row) for row in rows]


def _names(parts: ConsoleParts, table: str) -> dict[str, Any]:
    return {
        "history": identifier(parts.use_case.name, Table.history_of(table)),
        "key": identifier(parts.use_case.join_key),
    }


def _values(parts: ConsoleParts) -> dict[str, Any]:
    return {"key": parts.use_case.join_key}
