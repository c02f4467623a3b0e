"""A file of events in a temporary table, and those of them that are new in the table of events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from streamflow.entity_id import LONGEST, PATTERN, RULE
from streamflow.history.append import Ingestion
from streamflow.history.as_of import event_timestamp
from streamflow.history.events.events_table import (
    database_of_events,
    event_columns,
    event_kinds,
    event_rows,
    events_name,
    events_of,
    events_table,
)
from streamflow.history.files.month_rows import MonthRows
from streamflow.history.forgotten.forgotten import drop_forgotten, salts
from streamflow.history.staging import copy_rows, staging_table
from streamflow.history.validation import read_checked
from streamflow.history.violations import Report, Violation
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, columns, definitions, identifier
from streamflow.use_case import Table, UseCase


@dataclass(frozen=True)
class AddedEvents:
    """How many events were new; the moments (UTC) of the oldest and newest of them, None
    if there is none."""

    added: int
    oldest: datetime | None
    newest: datetime | None


def stage_events(
    database: Database,
    use_case: UseCase,
    table: Table,
    file: Path,
    until: datetime,
    report: Report,
    month: MonthRows | None = None,
) -> int:
    """Copy the file into its staging table; report each violation of the contract of events.

    An event after `until` (UTC), the end of the as_of, is one. An event of an entity that isn't in
    the entity table is none: the entity may have departed, or not come yet.
    Of a file of several months, the events of `month` alone are copied; if the file doesn't say
    which month they are of, those up to `until`.
    Returns how many rows are of persons who were forgotten: those are left out.
    """
    database = database_of_events(database)
    rows, names = event_rows(table), _names(database, use_case, table)
    database.execute("create_staging", {**names, "definitions": definitions(event_columns(table))})
    # A month in which nothing happened has a header and no row.
    named = replace(rows, name=table.name)
    read = partial(
        read_checked, named, file, month=month, types=event_kinds(table), may_be_empty=True
    )
    order = ["line", use_case.join_key, *event_columns(table)]
    copy_rows(database, rows, order, read, report)
    dropped = drop_forgotten(database, use_case, names, salts(database, use_case))
    database.execute("analyze_staging", names)
    for row in database.rows("refused_ids", names, longest=LONGEST, pattern=PATTERN):
        key = use_case.join_key
        report(Violation(file.name, row["line"], key, row["value"], f"an id is {RULE}"))
    of_all_months = month is not None and table.name not in month.texts
    last = event_timestamp(month.newest) if month is not None and of_all_months else until
    for row in database.rows("events_after", names, until=last):
        time, rule = events_of(table).time, "an event isn't later than the as_of"
        report(Violation(file.name, row["line"], time, row["value"], rule))
    if of_all_months:
        database.execute("drop_events_after", names, until=until)
    return dropped


def add_events(database: Database, ingestion: Ingestion, table: Table) -> AddedEvents:
    """Append the staged events that are new; of events alike in all columns, as many as there are
    more than are known."""
    database = database_of_events(database)
    names = _names(database, ingestion.use_case, table)
    database.execute("begin_appending")
    added = database.execute(
        "add_events",
        names,
        recorded_at=ingestion.recorded_at,
        ingestion_id=ingestion.ingestion_id,
    ).rowcount
    database.execute("analyze_events", use_case=ingestion.use_case.name, events=events_name(table))
    span = database.row("span_of_events", names, ingestion_id=ingestion.ingestion_id)
    return AddedEvents(added, span["oldest"], span["newest"])


def _names(database: Database, use_case: UseCase, table: Table) -> dict[str, Composable]:
    return {
        "staging": staging_table(events_name(table)),
        "events": events_table(use_case, table),
        "known_events": known_rows(database, use_case, events_name(table), FOR_EVER),
        "key": identifier(use_case.join_key),
        "time": identifier(events_of(table).time),
        "columns": columns([use_case.join_key, *event_columns(table)]),
    }
