"""The table in PostgreSQL with the events of a source table. It is append-only and has no key.

It is there wherever the histories of features are that are made of it.
"""

from __future__ import annotations

import json
from dataclasses import replace

from streamflow.errors import InvalidSettings
from streamflow.history.files.written_time import TIME, TIME_OR_UTC
from streamflow.history.history_table import create_history_table
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.validation import EVENT_TYPES, column_types
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, identifier
from streamflow.use_case import Events, Table, UseCase


def database_of_events(database: Database) -> Database:
    """PostgreSQL, in the same transactions, also where rows of history are elsewhere."""
    return database.in_postgres if isinstance(database, IcebergSession) else database


def events_of(table: Table) -> Events:
    """The table's events; it has some."""
    if table.events is None:
        raise AssertionError(f"table {table.name!r} has no events")
    return table.events


def event_rows(table: Table) -> Table:
    """The table as its file has it: a row for each event."""
    return replace(
        table,
        name=events_name(table),
        contract=events_of(table).contract,
        file=table.file or table.name,
        events=None,
    )


def events_name(table: Table) -> str:
    """The name of the table with the events."""
    return f"{table.name}_events"


def events_table(use_case: UseCase, table: Table) -> Composable:
    """The qualified name of the table with the events."""
    return identifier(use_case.name, events_name(table))


def event_columns(table: Table) -> dict[str, str]:
    """The columns of an event without its entity, with PostgreSQL's types."""
    types = column_types(event_rows(table), EVENT_TYPES)
    key = events_of(table).entity
    return {name: EVENT_TYPES[kind] for name, kind in types.items() if name != key}


def event_kinds(table: Table) -> dict[str, str]:
    """The columns of an event in the contract's order, with their kinds of value as
    `history.values.checked` knows them."""
    offset = TIME_OR_UTC if events_of(table).without_offset == "UTC" else TIME
    types = column_types(event_rows(table), EVENT_TYPES)
    return {name: offset if kind == "datetime64" else kind for name, kind in types.items()}


def create_events_table(database: Database, use_case: UseCase, table: Table) -> None:
    """Create the table with the events if it doesn't exist.

    Raises InvalidSettings if it exists with other columns.
    """
    wanted = event_columns(table)
    create_history_table(database, use_case, table)
    database.execute(
        "create_events",
        use_case=use_case.name,
        events=events_name(table),
        key=use_case.join_key,
        time=events_of(table).time,
        columns=json.dumps(list(wanted.items())),
    )
    rows = database.rows("history_columns", schema=use_case.name, table=events_name(table))
    own = {use_case.join_key, "recorded_at", "ingestion_id"}
    found = {row["column_name"]: row["data_type"] for row in rows if row["column_name"] not in own}
    if found != wanted:
        others = ", ".join(sorted({name for name, _ in found.items() ^ wanted.items()}))
        raise InvalidSettings(
            f"The events of table {table.name!r} were recorded with other columns or types than "
            f"its contract of events has (columns: {others}).",
            "Give events with other columns a table of their own: another name, the same file=….",
        )
