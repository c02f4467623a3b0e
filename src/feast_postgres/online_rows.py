"""ResultRows of entities on their way out of feature views' tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection, AsyncRawCursor, Connection, RawCursor, sql

from feast_postgres.columns import Column, Layout, utc

if TYPE_CHECKING:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

# PostgreSQL joins more tables and gives more columns than this, but not much.
_MOST_TABLES = 100
_MOST_COLUMNS = 1_500

ResultRows = list[tuple[Any, ...]]
# One row read: event timestamp and values by feature; both None if there is no such entity.
ReadResult = tuple[datetime | None, "dict[str, Value] | None"]


@dataclass(frozen=True)
class Part:
    """What is read from a table: `names` are features, `columns` theirs, None if it has no such."""

    table: sql.Identifier
    layout: Layout
    names: tuple[str, ...]
    columns: tuple[Column | None, ...]

    @property
    def stored_columns(self) -> list[Column]:
        """The columns of the features that the table has."""
        return [column for column in self.columns if column is not None]


def make_part(table: sql.Identifier, layout: Layout, names: Iterable[str]) -> Part:
    """A part of a request, for one table."""
    names = tuple(names)
    return Part(table, layout, names, tuple(layout.features.get(name) for name in names))


def in_statements(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """The parts, together as far as one statement can hold them."""
    together: list[Part] = []
    width = 0
    for one in parts:
        size = 2 + len(one.stored_columns)
        if together and (width + size > _MOST_COLUMNS or len(together) == _MOST_TABLES):
            yield together
            together, width = [], 0
        together.append(one)
        width += size
    if together:
        yield together


def select(parts: Sequence[Part]) -> sql.Composed:
    """One SELECT over the tables of the parts, which have the same keys.

    Its parameters (`$1`, not `%s`) are an array per key, with an element per entity. Its rows, in
    any order, are the entity's position from 1, and for each part event timestamp, unwritten
    columns and the features' columns; all are null if there is no such entity.
    """
    keys = parts[0].layout.keys
    wanted, joins = [], []
    for number, one in enumerate(parts):
        alias = sql.Identifier(f"t{number}")
        for name in (
            "event_timestamp",
            "unwritten",
            *(column.name for column in one.stored_columns),
        ):
            wanted.append(sql.SQL("{}.{}").format(alias, sql.Identifier(name)))
        on = sql.SQL(" AND ").join(
            sql.SQL("{}.{} = given.{}").format(
                alias, sql.Identifier(key.name), sql.Identifier(f"key{position}")
            )
            for position, key in enumerate(keys)
        )
        joins.append(sql.SQL(" LEFT JOIN {} AS {} ON {}").format(one.table, alias, on))
    return sql.SQL(
        "SELECT given.position, {} FROM unnest({}) WITH ORDINALITY AS given ({}, position) {}"
    ).format(
        sql.SQL(", ").join(wanted),
        sql.SQL(", ").join(
            sql.SQL("${}::{}[]").format(sql.Literal(number), sql.SQL(key.sql_type))
            for number, key in enumerate(keys, 1)
        ),
        sql.SQL(", ").join(sql.Identifier(f"key{position}") for position in range(len(keys))),
        sql.SQL("").join(joins),
    )


def fetch(
    connection: Connection[object], statements: Sequence[tuple[bytes, list[list[object]]]]
) -> list[ResultRows]:
    """In one round trip, the rows of each statement and its parameters, in order of position."""
    if len(statements) == 1:
        cursors = [RawCursor(connection).execute(*statements[0], prepare=True, binary=True)]
    else:
        with connection.pipeline():
            cursors = [
                RawCursor(connection).execute(*one, prepare=True, binary=True) for one in statements
            ]
    return [_in_order(cursor.fetchall()) for cursor in cursors]


async def fetch_async(
    connection: AsyncConnection[object], statements: Sequence[tuple[bytes, list[list[object]]]]
) -> list[ResultRows]:
    """`fetch` without blocking the event loop."""
    if len(statements) == 1:
        cursors = [
            await AsyncRawCursor(connection).execute(*statements[0], prepare=True, binary=True)
        ]
    else:
        async with connection.pipeline():
            cursors = [
                await AsyncRawCursor(connection).execute(*one, prepare=True, binary=True)
                for one in statements
            ]
    return [_in_order(await cursor.fetchall()) for cursor in cursors]


def key_array(key: Column, values: Sequence[Value]) -> list[object]:
    """A parameter of a SELECT; null for what can't be a key, which no row has."""
    array = []
    for value in values:
        try:
            array.append(key.to_sql(value))
        except ValueError:
            array.append(None)
    return array


def key_arrays(
    layout: Layout, entity_keys: Sequence[EntityKey], version: int
) -> list[list[object]]:
    """The parameters of a SELECT for these entity keys.

    Raises ValueError if their join keys aren't those of the view.
    """
    if layout.serialized:
        return [[layout.key_to_sql(entity_key, version)[0] for entity_key in entity_keys]]
    by_name = [layout.values_by_key(entity_key) for entity_key in entity_keys]
    return [key_array(key, [values[key.feature] for values in by_name]) for key in layout.keys]


def serialized_keys(
    layout: Layout, names: Sequence[str], columns: Sequence[Sequence[Value]], version: int
) -> list[list[object]]:
    """`key_arrays` of values by join key, for a table with a serialized key."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

    entity_keys = [
        EntityKey(join_keys=names, entity_values=values) for values in zip(*columns, strict=True)
    ]
    return key_arrays(layout, entity_keys, version)


def online_read_results(part: Part, rows: ResultRows) -> list[ReadResult]:
    """The rows of a statement of one part, as Feast's `online_read` gives them."""
    read: list[ReadResult] = []
    for _, event_timestamp, unwritten, *natives in rows:
        values = {
            column.feature: column.from_sql(native)
            for column, native in zip(part.stored_columns, natives, strict=True)
            if not unwritten or column.name not in unwritten
        }
        found = event_timestamp is not None and values
        read.append((utc(event_timestamp), values) if found else (None, None))
    return read


def _in_order(rows: list[Any]) -> ResultRows:
    """By position, the first column."""
    return sorted(rows, key=itemgetter(0))
