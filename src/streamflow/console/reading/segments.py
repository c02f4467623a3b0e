"""The segments of the use case by which the list can be cut."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from streamflow.console.access.visit import Visit
from streamflow.console.parts import ConsoleParts
from streamflow.console.reading.history_state import history_state
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.postgres.queries import identifier
from streamflow.scores import scorings
from streamflow.scores.scorings import NoScoring
from streamflow.use_case import Table

MOST_VALUES = 20


@dataclass(frozen=True)
class SegmentChoice:
    """A column as `table.column`, by its `name` in an address, with its values as texts and the
    chosen one, empty without."""

    column: str
    name: str
    chosen: str
    values: Sequence[str]


def segment_choices(parts: ConsoleParts, visit: Visit) -> list[SegmentChoice]:
    """The segments of the newest scoring's month, each with its most frequent values."""
    found = []
    for number, column in enumerate(parts.use_case.gates.segments, 1):
        name = f"segment_{number}"
        values = _values(parts, column)
        if values:
            found.append(SegmentChoice(column, name, visit.asked(name, 64), values))
    return found


def _values(parts: ConsoleParts, segment: str) -> list[str]:
    with suppress(NoScoring):
        scoring = scorings.newest(parts.reading, parts.use_case)
        question = ("segment", segment, scoring.scoring_id, history_state(parts))
        found: list[str] = parts.cached(question, lambda: _look(parts, segment, scoring.as_of))
        return found
    return []


def _look(parts: ConsoleParts, segment: str, as_of: object) -> list[str]:
    table, _, column = segment.partition(".")
    history, database = Table.history_of(table), parts.reading
    there = database.rows("history_columns", schema=parts.use_case.name, table=history)
    if column not in {row["column_name"] for row in there}:
        return []
    names = {
        "history": known_rows(database, parts.use_case, history, FOR_EVER),
        "column": identifier(column),
    }
    rows = database.rows("frequent_values", names, as_of=as_of, most=MOST_VALUES)
    return sorted(row["value"] for row in rows)
