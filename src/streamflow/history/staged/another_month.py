"""Whether a month's files look like another month's: by dates after the as_of, or by their rows."""

from __future__ import annotations

import calendar
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from streamflow.errors import DataRefused
from streamflow.hashes import Sha256
from streamflow.history.as_of import event_timestamp
from streamflow.history.history_table import content_columns
from streamflow.history.ingestions import Recorded
from streamflow.history.staging import staging_table
from streamflow.history.violations import Report, Violation
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.postgres.database import Database, Row
from streamflow.postgres.queries import columns, identifier
from streamflow.use_case import Table, UseCase

# Files are another month's if so many rows of each table are. A table that seldom changes may have
# the rows of the month before; that all tables have them is the same folder.
SAME_SHARE = 0.99
# Rows of each table that are looked up in the other months: a file of any size costs as much.
MOST_COMPARED = 1_000


class AnotherMonth(DataRefused):
    """The files have the rows of another as_of."""


@dataclass(frozen=True)
class LaterDates:
    """How many dates of a column of `not_after_as_of` are after the as_of, and the newest."""

    table: str
    column: str
    values: int
    newest: date

    def __str__(self) -> str:
        return f"{self.values:,} dates of {self.column!r} are after it, the newest {self.newest}"


@dataclass(frozen=True)
class SameRows:
    """Another as_of with the same rows: by table how many of those compared, and in which
    ingestions."""

    as_of: date
    ingestions: list[int]
    tables: Mapping[str, tuple[int, int]]

    def __str__(self) -> str:
        loaded = ", ".join(map(str, self.ingestions))
        return f"the rows are those of AS_OF {self.as_of} (ingestion {loaded})"


def later_dates(
    database: Database, table: Table, file: str, as_of: date, report: Report | None
) -> list[LaterDates]:
    """The columns of a staged table with dates after `as_of`, which its contract excludes.

    Each such date is given to `report`, unless that is None.
    """
    found = []
    for column in table.not_after_as_of:
        if column not in table.contract.columns:  # the file needn't have it
            continue
        names = {"staging": staging_table(table.name), "column": identifier(column)}
        counted = database.row("count_dates_after", names, as_of=as_of)
        if not counted["values"]:
            continue
        found.append(LaterDates(table.name, column, counted["values"], counted["newest"]))
        if report is not None:
            rule = f"a date that isn't after AS_OF {as_of}"
            for row in database.rows("dates_after", names, as_of=as_of):
                report(Violation(file, row["line"], column, str(row["value"]), rule))
    return found


def what_to_type(found: Iterable[LaterDates], folder: Path, as_of: date, now: datetime) -> str:
    """The as_of that files with later dates seem to be of, and the commands; empty without any."""
    newest = max(found, key=lambda one: one.newest, default=None)
    if newest is None:
        return ""
    command = f"streamflow ingest {shlex.quote(str(folder))} --as-of"
    really = f"If they are of {as_of} all the same: `{command} {as_of} --really`."
    month = _month_of(newest.newest, as_of)
    if event_timestamp(month) > now:  # a slip of the pen rather than a month
        return really
    seems = f"The newest {newest.column!r} is {newest.newest}, so the files seem to be of {month}:"
    return f"{seems} `{command} {month}`. {really}"


def _month_of(newest: date, as_of: date) -> date:
    """The as_of of a month with this newest date, where `as_of` may be the last day of a month."""
    if as_of.day < _last_day(as_of):
        return newest
    return newest.replace(day=_last_day(newest))


def _last_day(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def same_rows(
    database: Database, use_case: UseCase, tables: Sequence[Table], as_of: date
) -> SameRows | None:
    """The newest other as_of whose rows the staged `tables` have; the first is the entity table.

    None if there is none, or if the rows are known of `as_of` already. A table of which the other
    as_of has no row doesn't count. Rows that were withdrawn don't either.
    """
    found: dict[date, dict[str, Row]] = {}
    for number, table in enumerate(tables):
        same = _months_with_same_rows(database, use_case, table, [*found] if number else None)
        if not number:
            found = {month: {} for month in same}
        for month in [*found]:
            if month in same:
                found[month][table.name] = same[month]
            elif _has_rows(database, use_case, table, month):
                del found[month]
    if not found or as_of in found:
        return None
    newest = max(found)
    ingestions = {one for row in found[newest].values() for one in row["ingestions"]}
    compared = {name: (row["same"], row["compared"]) for name, row in found[newest].items()}
    return SameRows(newest, sorted(ingestions), compared)


def _months_with_same_rows(
    database: Database, use_case: UseCase, table: Table, months: list[date] | None
) -> dict[date, Row]:
    if months == []:
        return {}
    stored = [use_case.join_key, *content_columns(use_case, table)]
    names = {
        "known_history": known_rows(database, use_case, table.history, FOR_EVER),
        "staging": staging_table(table.name),
        "key": identifier(use_case.join_key),
        "columns": columns(stored),
        "some_columns": columns(stored, "some_rows"),
        "history_columns": columns(stored, "history"),
    }
    rows = database.rows("months_with_same_rows", names, compared=MOST_COMPARED, months=months)
    return {row["as_of"]: row for row in rows if row["same"] >= SAME_SHARE * row["compared"]}


def _has_rows(database: Database, use_case: UseCase, table: Table, month: date) -> bool:
    names = {"known_history": known_rows(database, use_case, table.history, FOR_EVER)}
    there: bool = database.row("month_is_known", names, as_of=month)["exists"]
    return there


def same_file(recorded: Iterable[Recorded], table: str, sha256: Sha256, as_of: date) -> list[str]:
    """In words, the newest other as_of that had the table's file, byte for byte, and counts."""
    others = {
        one.as_of: one.ingestion_id
        for one in recorded
        if one.as_of != as_of
        and one.withdrawn_at is None
        and one.tables.get(table, {}).get("sha256") == sha256
    }
    if not others:
        return []
    newest = max(others)
    return [f"the file is that of AS_OF {newest}, byte for byte (ingestion {others[newest]})"]


def another_month(same: SameRows, folder: Path, as_of: date) -> AnotherMonth:
    """The error that says whose rows they are, and the commands."""
    counted = ", ".join(
        f"{name} {rows:,} of {compared:,}" for name, (rows, compared) in same.tables.items()
    )
    command = f"streamflow ingest {shlex.quote(str(folder))} --as-of"
    first = same.ingestions[0]
    return AnotherMonth(
        f"{folder} has the rows of AS_OF {same.as_of}, which are known by ingestion "
        f"{', '.join(map(str, same.ingestions))} (rows that are the same: {counted}); nothing was "
        "changed.",
        f"If the folder is of {same.as_of}: `{command} {same.as_of}`. If that ingestion was wrong: "
        f'`streamflow withdraw {first} --why "…"`, then the same command. If in {as_of} '
        f"nothing changed: `{command} {as_of} --really`.",
    )
