"""The tables that have rows of entities. A test holds this list against the database's catalogue.

A new table of the schema `streamflow` with an entity in a column is named here, in the migration's
own change: then `forget` deletes its rows, and rewrites it.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamflow.features.feature_store import ONLINE_SCHEMA
from streamflow.history.forgotten.salted_hash import pads
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, identifier, subquery
from streamflow.use_case import UseCase

OWN_SCHEMA = "streamflow"

# What columns with an entity are called in the schema `streamflow`.
ENTITY_COLUMN_NAMES = ("entity", "entity_id", "entities", "entity_ids")

# By table: its column, and the query of `queries.sql` that says which rows are of a use case. What
# refers to another table comes before it.
ENTITY_TABLES: dict[str, tuple[str, str]] = {
    "absences": ("entity", "rows_of_use_case"),
    "shadow_scores": ("entity_id", "rows_of_answering_model"),
    "predictions": ("entity_id", "rows_of_served_model"),
    "reasons": ("entity_id", "rows_of_scoring"),
    "unexplained": ("entity_id", "rows_of_scoring"),
    "contacts": ("entity_id", "rows_of_list"),
    "listed": ("entity_id", "rows_of_list"),
    "scores": ("entity_id", "rows_of_scoring"),
    "unscored": ("entity_id", "rows_of_scoring"),
    "unfinished_scores": ("entity_id", "rows_of_unfinished_scoring"),
}


@dataclass(frozen=True)
class EntityTable:
    """A table with the column of its entities; `condition` names the query of the condition for
    its rows of a use case, None if all are."""

    schema: str
    table: str
    column: str
    condition: str | None

    @property
    def name(self) -> str:
        """The table's name with its schema, as it is told."""
        return f"{self.schema}.{self.table}"


def entity_tables(database: Database, use_case: UseCase) -> list[EntityTable]:
    """The tables that exist and have rows of the use case's entities: ours, history, and the
    features online with those that are kept for models of before."""
    ours = [
        EntityTable(OWN_SCHEMA, table, column, condition)
        for table, (column, condition) in ENTITY_TABLES.items()
    ]
    found = database.rows(
        "tables_with_key",
        history=use_case.name,
        online=ONLINE_SCHEMA,
        key=use_case.join_key,
        project=f"{use_case.name}.",
    )
    others = [EntityTable(row["schema"], row["table"], use_case.join_key, None) for row in found]
    return [*ours, *others]


def delete(
    database: Database, use_case: UseCase, table: EntityTable, entities: list[str]
) -> dict[str, dict[str, int]]:
    """Delete the entities' rows; by entity and table, or partition, how many there were."""
    found: dict[str, dict[str, int]] = {}
    by_partition = subquery(str(table.schema == OWN_SCHEMA))
    names = {**_names(database, use_case, table), "by_partition": by_partition}
    for row in database.rows("delete_entities", names, ids=entities):
        name = f"{row['schema']}.{row['table']}"
        found.setdefault(row["entity"], {})[name] = row["rows"]
    return found


def with_hash(
    database: Database, use_case: UseCase, table: EntityTable, salt: bytes, hashes: list[bytes]
) -> set[str]:
    """The entities with rows in the table whose hash with this salt is one of `hashes`."""
    names = _names(database, use_case, table)
    rows = database.rows("entities_with_hash", names, hashes=hashes, **pads(salt))
    return {row["entity"] for row in rows}


def _names(database: Database, use_case: UseCase, table: EntityTable) -> dict[str, Composable]:
    values = {"use_case": use_case.name, "model": use_case.registered_model}
    return {
        "table": identifier(table.schema, table.table),
        "column": identifier(table.column),
        "condition": subquery(database.render(table.condition or "all_rows", **values)),
    }
