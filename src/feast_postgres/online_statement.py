"""Online features by one prepared statement, for processes that serve without importing Feast.

The columns of the tables come from the database's catalog: importing Feast takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from psycopg import Connection, RawCursor, sql
from psycopg.pq.abc import PGresult
from psycopg.rows import tuple_row

from feast_postgres.columns import (
    Column,
    TableLayout,
    column_name,
    column_of_type,
    referenced_table,
    table_name,
    version_prefix,
)
from feast_postgres.online_rows import (
    ResultRows,
    Selection,
    group_by_statement,
    select,
    select_features,
)
from feast_postgres.tables import existing_columns, has_row, versions

_ResultRow = tuple[Any, ...]


class NotReadable(Exception):
    """The requested features can't be read by one statement; the message is the reason.

    A table or column is missing, the view has other join keys, or the features are too many.
    """


@dataclass(frozen=True)
class Statement:
    """The features of several views by one text key.

    The first column of a result row is the key's position, from 1. `times` takes from the row the
    event timestamp of each view (None: no such entity), `unwritten` the names of the columns never
    written of each view (None: all are written), `values` the value of each feature in the order
    requested. `requested` are pairs of feature view and feature. `result_types` are PostgreSQL's
    types of the columns (OIDs): a result with others is of tables that have changed since.
    """

    text: bytes
    requested: tuple[tuple[str, str], ...]
    value_types: tuple[str, ...]
    result_types: tuple[int, ...]
    times: Callable[[_ResultRow], _ResultRow] = field(compare=False)
    unwritten: Callable[[_ResultRow], _ResultRow] = field(compare=False)
    values: Callable[[_ResultRow], _ResultRow] = field(compare=False)
    columns: tuple[tuple[int, str], ...]  # per feature the number of its view, and its column
    selections: tuple[Selection, ...] = field(compare=False)

    def with_keys(self, keys: Sequence[str]) -> str:
        """The statement for these keys, which are in its text, for drivers that take no arrays."""
        return select(self.selections, [sql.Literal(list(keys))]).as_string(None)

    @property
    def views(self) -> tuple[str, ...]:
        """The feature views as they were requested."""
        return tuple(dict.fromkeys(view for view, _ in self.requested))


def readable_version(
    connection: Connection[object],
    schema: str,
    project: str,
    join_key: str,
    view: str,
    features: Mapping[str, str],
) -> str:
    """The newest version of the view, as `view` or `view@vN`, that has the features in these Feast
    types, and has values of them if it has rows. The newest one if none has all of them.

    A version whose columns are new has no values of them before it is materialized.
    """
    columns = {column_name(name, join_key): value_type for name, value_type in features.items()}
    found = versions(connection, schema, version_prefix(project, view))
    if not found:
        return view
    without_values = []
    for version in [*sorted(found, reverse=True), 0]:
        table = sql.Identifier(schema, table_name(project, view, version))
        stored = {name: value_type for name, value_type, _ in existing_columns(connection, table)}
        if not columns.items() <= stored.items():
            continue
        reference = f"{view}@v{version}" if version else view
        if not has_row(connection, table) or has_row(connection, table, columns):
            return reference
        without_values.append(reference)
    return (*without_values, f"{view}@v{max(found)}")[0]


def views_without_values(
    connection: Connection[object],
    schema: str,
    project: str,
    join_key: str,
    requested: Sequence[tuple[str, str]],
) -> dict[str, bool]:
    """The views in which no row has a value of each of the features `requested` of it, because they
    were never written since their columns or tables are there; whether a view has any row."""
    columns: dict[str, list[str]] = {}
    for view, name in requested:
        columns.setdefault(view, []).append(column_name(name, join_key))
    tables = {view: sql.Identifier(schema, referenced_table(project, view)) for view in columns}
    return {
        view: has_row(connection, tables[view])
        for view, names in columns.items()
        if not has_row(connection, tables[view], names)
    }


def prepare_statement(
    connection: Connection[object],
    schema: str,
    project: str,
    join_key: str,
    requested: Sequence[tuple[str, str]],
) -> Statement:
    """The statement that reads `requested`: pairs of feature view and feature. `view@v2` is
    version 2 of the view.

    Raises NotReadable if the tables lack one of them.
    """
    views = list(dict.fromkeys(view for view, _ in requested))
    selections: list[Selection] = []
    found: dict[tuple[str, str], tuple[int, Column]] = {}  # its position in a row, and its column
    starts: list[int] = []
    start = 1
    for view in views:
        table = sql.Identifier(schema, referenced_table(project, view))
        layout = _layout(view, existing_columns(connection, table), join_key)
        names = {name: column_name(name, join_key) for one, name in requested if one == view}
        absent = [name for name, column in names.items() if column not in layout.features]
        if absent:
            raise NotReadable(f"feature view {view!r} has no {absent[0]!r}")
        selection = select_features(table, layout, names.values())
        selections.append(selection)
        starts.append(start)
        positions = enumerate(zip(names, selection.stored_columns, strict=True), start + 2)
        for position, (name, column) in positions:
            found[view, name] = position, column
        start += 2 + len(names)
    if len(list(group_by_statement(selections))) != 1:
        raise NotReadable("its features are more than one statement can hold")
    text = select(selections).as_bytes(None)
    described = RawCursor(connection).execute(text, [[]], binary=True, prepare=False)
    return Statement(
        text=text,
        requested=tuple(requested),
        value_types=tuple(found[one][1].value_type for one in requested),
        result_types=types_of(described.pgresult),
        times=_getter(starts),
        unwritten=_getter([start + 1 for start in starts]),
        values=_getter([found[one][0] for one in requested]),
        columns=tuple((views.index(view), found[view, name][1].name) for view, name in requested),
        selections=tuple(selections),
    )


def _layout(
    view: str, columns: Sequence[tuple[str, str | None, bool]], join_key: str
) -> TableLayout:
    keys = tuple(
        column_of_type(name, name, value_type or "")
        for name, value_type, is_key in columns
        if is_key
    )
    if not columns:
        raise NotReadable(f"there is no table of feature view {view!r}")
    if [(key.name, key.value_type) for key in keys] != [(join_key, "STRING")]:
        raise NotReadable(f"feature view {view!r} isn't found by the text {join_key!r} alone")
    features = {
        name: column_of_type(name, name, value_type)
        for name, value_type, is_key in columns
        if value_type and not is_key
    }
    return TableLayout(view, keys, features)


def _getter(positions: Sequence[int]) -> Callable[[_ResultRow], _ResultRow]:
    if len(positions) > 1:
        return itemgetter(*positions)
    (position,) = positions
    return lambda row: (row[position],)


def types_of(result: PGresult | None) -> tuple[int, ...]:
    """PostgreSQL's types of the columns of a result."""
    return () if result is None else tuple(map(result.ftype, range(result.nfields)))


def read(connection: Connection[object], statement: Statement, keys: Sequence[str]) -> ResultRows:
    """Execute the statement; a row per key, in their order.

    Raises NotReadable if a column isn't of the type any more that it had when the statement was
    prepared.
    """
    cursor = RawCursor(connection, row_factory=tuple_row)
    # psycopg would keep a statement that it has prepared, with the types of then, and fail with it.
    cursor.execute(statement.text, [list(keys)], binary=True, prepare=False)
    if types_of(cursor.pgresult) != statement.result_types:
        raise changed_types()
    return sorted(cursor.fetchall(), key=itemgetter(0))


def changed_types() -> NotReadable:
    """The error for a result of other types than those of the statement."""
    return NotReadable("a feature has another type in the online store than before")
