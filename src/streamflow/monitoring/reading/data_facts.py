"""A month's tables: how many rows, who is new or absent, whose rows they are, what is late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise

from streamflow.history.history_table import content_columns
from streamflow.history.labels import matured_at
from streamflow.history.months import labelled_months
from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.monitoring.reading.month_rows import History
from streamflow.monitoring.rules.data import DataFacts, LateLabels, TableFacts
from streamflow.postgres.queries import columns, identifier
from streamflow.use_case import Table

# Entities of each table whose rows are looked up in other months.
MOST_COMPARED = 1_000
# Months before that say how much the number of entities usually changes.
MOST_MONTHS = 12


def data_facts(history: History, as_of: date) -> DataFacts:
    """The facts of the month `as_of`, beside the month before it."""
    use_case = history.use_case
    earlier = [month for month in history.months if month < as_of][-MOST_MONTHS:]
    before = earlier[-1] if earlier else None
    tables = use_case.tables()
    by_table = {table.name: _rows(history, table, [*earlier, as_of]) for table in tables}
    entities = {
        month: found for month, (_, found) in by_table[use_case.entity_table].items() if found
    }
    there, was = entities.get(as_of, 0), entities.get(before, 0) if before else 0
    new, absent = _compared(history, before, as_of) if was else (None, None)
    label = use_case.label
    facts = []
    for table in tables:
        rows = by_table[table.name]
        # Labels with a horizon come later; what is late of them is told by itself.
        if table.name == label.table and (label.horizon or not rows.get(as_of)):
            continue
        facts.append(_table(history, table, rows, as_of, before, there, was))
    changes = [
        entities[month] / entities[former] - 1
        for former, month in pairwise(earlier)
        if entities.get(former) and entities.get(month)
    ]
    return DataFacts(
        as_of=as_of,
        known_at=history.known_at,
        entities=there,
        entities_before=was or None,
        new=new,
        absent=absent,
        changes=changes,
        tables=facts,
        late_labels=_late(history, as_of),
        month_before=before,
    )


_Rows = Mapping[date, tuple[int, int]]


def _rows(history: History, table: Table, months: Sequence[date]) -> dict[date, tuple[int, int]]:
    """By month how many rows and how many entities a table has."""
    database, use_case = history.database, history.use_case
    if not history.stored_columns(table.history):
        return {}
    names = {
        "history": known_rows(database, use_case, table.history, history.known_at),
        "key": identifier(use_case.join_key),
    }
    several = [month for month in months if history.several_files(table.name, [month])]
    plain = [month for month in months if month not in several]
    found = {
        row["as_of"]: (row["rows"], row["rows"])
        for row in database.rows("rows_by_month", names, as_ofs=plain, known_at=history.known_at)
    }
    if several:
        for row in database.rows(
            "entities_by_month", names, as_ofs=several, known_at=history.known_at
        ):
            found[row["as_of"]] = row["rows"], row["entities"]
    return found


def _compared(history: History, before: date | None, as_of: date) -> tuple[int, int]:
    """How many entities are new, and how many absent."""
    assert before is not None
    stored = Table.history_of(history.use_case.entity_table)
    names = {
        "later": history.rows(stored, [], [as_of]),
        "earlier": history.rows(stored, [], [before]),
        "key": identifier(history.use_case.join_key),
    }
    with history.database.transaction():
        history.database.execute("enlarge_memory")
        row = history.database.row("compare_entities", names)
    return row["new"], row["absent"]


def _table(
    history: History,
    table: Table,
    rows: _Rows,
    as_of: date,
    before: date | None,
    entities: int,
    entities_before: int,
) -> TableFacts:
    all_rows, found = rows.get(as_of, (0, 0))
    then = rows.get(before, (0, 0))[1] if before is not None else None
    same = _same_rows(history, table, as_of) if found else {}
    usual = _usually_same(history, table, before, as_of, rows) if same else None
    same_as = max(same, key=lambda month: (same[month], month), default=None)
    return TableFacts(
        table=table.name,
        rows=found,
        lacking=max(0, entities - found),
        rows_before=then,
        lacking_before=None if then is None else max(0, entities_before - then),
        corrected=all_rows - found,
        same_as=same_as,
        same=same[same_as] if same_as is not None else 0.0,
        usually_same=usual,
    )


def _usually_same(
    history: History, table: Table, before: date | None, as_of: date, rows: _Rows
) -> float | None:
    """The greatest share of rows that the month before had in common with another one; None if
    there was no other with rows then."""
    others = [month for month, (_, found) in rows.items() if found and month not in (before, as_of)]
    if before is None or not others or not rows.get(before, (0, 0))[1]:
        return None
    same = _same_rows(history, table, before)
    return max((same.get(month, 0.0) for month in others), default=None)


def _same_rows(history: History, table: Table, as_of: date) -> dict[date, float]:
    """By other month, the share of some of the rows that are the same there; only months that have
    one."""
    database, use_case = history.database, history.use_case
    stored = {*history.stored_columns(table.history)}
    names = [name for name in content_columns(use_case, table) if name in stored]
    if not names:
        return {}
    rows = database.rows(
        "same_rows_of_months",
        {
            "key": identifier(use_case.join_key),
            "columns": columns(names),
            "some_columns": columns(names, "some_rows"),
            "history_columns": columns(names, "history"),
            "rows": history.rows(table.history, names, [as_of]),
            "history": known_rows(database, use_case, table.history, history.known_at),
        },
        as_of=as_of,
        known_at=history.known_at,
        compared=MOST_COMPARED,
    )
    return {row["as_of"]: row["same"] / row["compared"] for row in rows if row["compared"]}


def _late(history: History, as_of: date) -> list[LateLabels]:
    """The months up to `as_of` whose labels could be known, and aren't there."""
    use_case = history.use_case
    labelled = {*labelled_months(history.database, use_case, history.known_at)}
    due = {
        month: matured_at(use_case, month)
        for month in history.months
        if month <= as_of and month not in labelled
    }
    return [
        LateLabels(month, moment) for month, moment in due.items() if moment <= history.known_at
    ]
