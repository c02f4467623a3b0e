"""The tables of Iceberg as the contracts of a use case have them, with a view of each in PostgreSQL
that has its columns and says where its rows are."""

from __future__ import annotations

import json
from typing import Any

from streamflow.errors import InvalidSettings
from streamflow.history.iceberg.catalog import ICEBERG_TYPES, POSTGRES_TYPES, Catalog
from streamflow.postgres.database import Database

_TIME = "timestamp with time zone"


def create(
    database: Database,
    catalog: Catalog,
    location: str,
    use_case: Any,
    history: Any,
    key: Any,
    columns: Any,
) -> None:
    """Create the table of a history below `location`, if there is none; `columns` is what
    `create_history` is given.

    Raises InvalidSettings if the history is elsewhere.
    """
    require_place(database, use_case, location)
    if history in {row["table_name"] for row in database.rows("iceberg_tables", use_case=use_case)}:
        return
    database.execute("add_iceberg_location", use_case=use_case, location=location)
    all_columns = {
        **{key: "text", "as_of": "date", "event_timestamp": _TIME, "recorded_at": _TIME},
        "ingestion_id": "bigint",
        **dict(json.loads(columns)),
    }
    catalog.create_history(use_case, history, location, all_columns)
    database.execute(
        "create_history_elsewhere",
        use_case=use_case,
        history=history,
        columns=json.dumps([*all_columns.items()]),
    )


def change(database: Database, catalog: Catalog, **values: Any) -> None:
    """Make the change that `change_history` is given; a column that is widened is that already."""
    table = catalog.load_table((values["use_case"], values["history"]))
    with table.update_schema() as schema:
        if values["kind"] == "added":
            schema.add_column(values["column_name"], ICEBERG_TYPES[values["type"]])
        elif values["kind"] == "renamed":
            schema.rename_column(values["before"], values["column_name"])
    columns = [
        (field.name, POSTGRES_TYPES[str(field.field_type)]) for field in table.schema().fields
    ]
    database.execute("change_history_elsewhere", **values, columns=json.dumps(columns))


def require_place(database: Database, use_case: str, location: str) -> None:
    """Raise InvalidSettings if the use case has a history, and it isn't at `location`."""
    if database.row("history_is_here", use_case=use_case)["here"]:
        raise InvalidSettings(
            f"History of {use_case!r} is in PostgreSQL, and STREAMFLOW_HISTORY={location}.",
            "Set STREAMFLOW_HISTORY=postgres.",
        )
    require_location(database, use_case, location)


def require_location(database: Database, use_case: str, location: str) -> None:
    """Raise InvalidSettings if the use case's history is in another location."""
    placed = database.row("iceberg_location", use_case=use_case)["location"]
    if placed not in (None, location):
        raise InvalidSettings(
            f"History of {use_case!r} is in {placed}, and STREAMFLOW_HISTORY={location}.",
            f"Set STREAMFLOW_HISTORY={placed}.",
        )
