"""The table in PostgreSQL with the history of a source table.

It has one row per (entity, as_of, recorded_at), in a schema with the name of the use case.
"""

from __future__ import annotations

import json

from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.validation import POSTGRES_TYPES, column_types
from streamflow.postgres.database import Database
from streamflow.postgres.driver_errors import history_elsewhere
from streamflow.postgres.queries import Composable, definitions, identifier
from streamflow.use_case import Table, UseCase


def history_table(use_case: UseCase, table: Table) -> Composable:
    """The qualified name of the table's history."""
    return identifier(use_case.name, table.history)


def create_history_table(database: Database, use_case: UseCase, table: Table) -> None:
    """Create the table's history if it doesn't exist; see `streamflow.history.history_changes`.

    Raises InvalidSettings if history is elsewhere than the database writes it.
    """
    if not isinstance(database, IcebergSession):
        require_rows_here(database, use_case.name)
    # IF NOT EXISTS would need the right to create schemas even if it exists.
    if not database.row("schema_exists", schema=use_case.name)["exists"]:
        database.execute("create_history_schema", {"schema": identifier(use_case.name)})
    database.execute(
        "create_history",
        use_case=use_case.name,
        history=table.history,
        key=use_case.join_key,
        columns=json.dumps(list(_content_types(use_case, table).items())),
    )


def require_rows_here(database: Database, use_case: str) -> None:
    """Raise InvalidSettings if the rows of the use case's history aren't in PostgreSQL."""
    location = history_location(database, use_case)
    if location is not None:
        raise history_elsewhere(f"the rows of {use_case} are in {location}")


def history_location(database: Database, use_case: str) -> str | None:
    """Where the rows of the use case's history are, None if it is PostgreSQL."""
    # A database that an earlier release has left is backed up as it is.
    if not database.row("history_can_be_elsewhere")["exists"]:
        return None
    location: str | None = database.row("iceberg_location", use_case=use_case)["location"]
    return location


def existing_columns(database: Database, use_case: UseCase, table: Table) -> dict[str, str]:
    """The columns of the table's history with PostgreSQL's types; none if there is no history."""
    rows = database.rows("history_columns", schema=use_case.name, table=table.history)
    return {row["column_name"]: row["data_type"] for row in rows}


def content_columns(use_case: UseCase, table: Table) -> list[str]:
    """The contract's columns in order, without the entity key."""
    return [name for name in column_types(table) if name != use_case.join_key]


def content_definitions(use_case: UseCase, table: Table) -> Composable:
    """The SQL definitions of the content columns."""
    return definitions(_content_types(use_case, table))


def _content_types(use_case: UseCase, table: Table) -> dict[str, str]:
    types = column_types(table)
    return {name: POSTGRES_TYPES[types[name]] for name in content_columns(use_case, table)}
