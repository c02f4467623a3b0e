"""Statements that read entities' rows from feature views' tables, and their results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg import sql

from feast_postgres.columns import Column, TableLayout, utc

if TYPE_CHECKING:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

# Limits of one statement, below those of PostgreSQL.
_MOST_TABLES = 100
_MOST_COLUMNS = 1_500

ResultRows = list[tuple[Any, ...]]
# One row read: event timestamp and values by feature; both None if there is no such entity.
ReadResult = tuple[datetime | None, "dict[str, Value] | None"]


@dataclass(frozen=True)
class Selection:
    """Features read from a table: their names, and their columns, None where the table has none."""

    table: sql.Identifier
    layout: TableLayout
    names: tuple[str, ...]
    columns: tuple[Column | None, ...]

    @property
    def stored_columns(self) -> list[Column]:
        """The columns of the features that the table has."""
        return [column for column in self.columns if column is not None]


def select_features(table: sql.Identifier, layout: TableLayout, names: Iterable[str]) -> Selection:
    """The features of these names, of one table."""
    names = tuple(names)
    return Selection(table, layout, names, tuple(layout.features.get(name) for name in names))


def group_by_statement(selections: Sequence[Selection]) -> Iterator[list[Selection]]:
    """The selections, grouped into as few statements as can hold them."""
    group: list[Selection] = []
    width = 0
    for selection in selections:
        size = 2 + len(selection.stored_columns)
        if group and (width + size > _MOST_COLUMNS or len(group) == _MOST_TABLES):
            yield group
            group, width = [], 0
        group.append(selection)
        width += size
    if group:
        yield group


def select(
    selections: Sequence[Selection], arrays: Sequence[sql.Composable] | None = None
) -> sql.Composed:
    """One SELECT over the tables of the selections, which have the same keys.

    An array per key, with an element per entity, is one of `arrays`, in SQL; without them it is a
    parameter (`$1`, not `%s`). The rows, in
    any order, are the entity's position from 1, and for each selection its event timestamp, the
    unwritten columns and the features' columns; all are null if there is no such entity.
    """
    keys = selections[0].layout.keys
    wanted, joins = [], []
    for number, selection in enumerate(selections):
        alias = sql.Identifier(f"t{number}")
        for name in (
            "event_timestamp",
            "unwritten",
            *(column.name for column in selection.stored_columns),
        ):
            wanted.append(sql.SQL("{}.{}").format(alias, sql.Identifier(name)))
        on = sql.SQL(" AND ").join(
            sql.SQL("{}.{} = given.{}").format(
                alias, sql.Identifier(key.name), sql.Identifier(f"key{position}")
            )
            for position, key in enumerate(keys)
        )
        joins.append(sql.SQL(" LEFT JOIN {} AS {} ON {}").format(selection.table, alias, on))
    if arrays is None:
        arrays = [sql.SQL("${}").format(number) for number in range(1, len(keys) + 1)]
    return sql.SQL(
        "SELECT given.position, {} FROM unnest({}) WITH ORDINALITY AS given ({}, position) {}"
    ).format(
        sql.SQL(", ").join(wanted),
        sql.SQL(", ").join(
            sql.SQL("{}::{}[]").format(array, sql.SQL(key.sql_type))
            for array, key in zip(arrays, keys, strict=True)
        ),
        sql.SQL(", ").join(sql.Identifier(f"key{position}") for position in range(len(keys))),
        sql.SQL("").join(joins),
    )


def key_array(key: Column, values: Sequence[Value]) -> list[object]:
    """A parameter of a SELECT; null for a value that can't be a key: no row has it."""
    array = []
    for value in values:
        try:
            array.append(key.to_sql(value))
        except ValueError:
            array.append(None)
    return array


def key_arrays(
    layout: TableLayout, entity_keys: Sequence[EntityKey], version: int
) -> list[list[object]]:
    """The parameters of a SELECT for these entity keys.

    Raises ValueError if their join keys aren't those of the view.
    """
    if layout.serialized:
        return [[layout.key_to_sql(entity_key, version)[0] for entity_key in entity_keys]]
    by_name = [layout.values_by_key(entity_key) for entity_key in entity_keys]
    return [key_array(key, [values[key.feature] for values in by_name]) for key in layout.keys]


def serialized_keys(
    layout: TableLayout, names: Sequence[str], columns: Sequence[Sequence[Value]], version: int
) -> list[list[object]]:
    """`key_arrays` of values by join key, for a table with a serialized key."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

    entity_keys = [
        EntityKey(join_keys=names, entity_values=values) for values in zip(*columns, strict=True)
    ]
    return key_arrays(layout, entity_keys, version)


def online_read_results(selection: Selection, rows: ResultRows) -> list[ReadResult]:
    """The rows of a statement of one selection, as Feast's `online_read` returns them."""
    read: list[ReadResult] = []
    for _, event_timestamp, unwritten, *natives in rows:
        values = {
            column.feature: column.from_sql(native)
            for column, native in zip(selection.stored_columns, natives, strict=True)
            if not unwritten or column.name not in unwritten
        }
        found = event_timestamp is not None and values
        read.append((utc(event_timestamp), values) if found else (None, None))
    return read
