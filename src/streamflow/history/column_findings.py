"""What is wrong with the columns of a contract: their names and types, and what is said of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from streamflow.history.validation import POSTGRES_TYPES
from streamflow.use_case import Csv, Table
from streamflow.use_case.findings import Finding
from streamflow.use_case.module import nearest

if TYPE_CHECKING:
    from pandera.pandas import Column

# PostgreSQL cuts longer names off, in bytes.
MOST_NAME_BYTES = 63

# The columns of staging and history tables, of Feast's joins, and of every table of PostgreSQL.
RESERVED_COLUMNS = frozenset(
    {"line", "as_of", "event_timestamp", "recorded_at", "ingestion_id", "entity_timestamp"}
    | {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
)

# What people write who want a type of ours, by the beginning of its name in pandas.
_LIKE = {
    **{"int": "Int64", "uint": "Int64", "Int": "Int64", "UInt": "Int64"},
    **{"float": "Float64", "Float": "Float64", "decimal": "Float64", "complex": "Float64"},
    **{"bool": "boolean", "datetime": "date", "timestamp": "date"},
}


def column_findings(table: Table, key: str) -> Iterator[Finding]:
    """What is wrong with the columns of the table's contract, where `key` is the use case's."""
    yield from _type_findings(table, key)
    yield from _renamed_findings(table, key)
    yield from _in_file_findings(table)
    yield from _read_columns_findings(table)
    yield from _date_findings(table)


def contract_types(table: Table) -> dict[str, str]:
    """The contract's columns in order, with the names of their types, such as `Int64`."""
    return {name: _type(column) for name, column in table.contract.columns.items()}


def _type(column: Column) -> str:
    return str(column.dtype).split("[")[0]


def _type_findings(table: Table, key: str) -> Iterator[Finding]:
    columns: Mapping[str, Column] = table.contract.columns
    if isinstance(key, str) and key not in columns:
        yield Finding(
            f"table {table.name!r}",
            f"its contract lacks the key {key!r}, by which rows are told apart",
            f'"{key}": Column("string")',
        )
    for name, column in columns.items():
        where, kind = f"table {table.name!r}, column {name!r}", _type(column)
        if (bad := _bad_column_name(name)) is not None:
            yield Finding(where, bad, f'"{as_name(name)}_": Column("{_supported(kind)}")')
        elif name == key:
            if kind != "string" or column.nullable or not column.required:
                said = f"has the type {kind}" if kind != "string" else "may be missing"
                yield Finding(
                    where,
                    f"the key {said}; a key is text and always there",
                    f'"{name}": Column("string")',
                )
        elif kind not in POSTGRES_TYPES:
            yield Finding(
                where,
                f"the type {kind} isn't one of {', '.join(POSTGRES_TYPES)}",
                f'"{name}": Column("{_supported(kind)}"{null_of(column)})',
            )


def _renamed_findings(table: Table, key: str) -> Iterator[Finding]:
    where = f"table {table.name!r}, renamed_from"
    columns = table.contract.columns
    if not isinstance(table.renamed_from, Mapping):
        yield Finding(where, "it isn't a mapping", 'renamed_from={"new_name": "old_name"}')
        return
    for name, old in table.renamed_from.items():
        line = f'renamed_from={{"{nearest(name, columns)}": "{old}"}}'
        if name not in columns:
            yield Finding(where, f"the contract has no column {name!r}", line)
        elif name == key:
            yield Finding(where, f"the key {name!r} keeps its name", "leave it out")
        elif old in columns:
            yield Finding(
                where,
                f"{old!r} is a column of the contract itself",
                f'"{name}" alone, or "{old}" without renamed_from',
            )
        elif _bad_column_name(old) is not None:
            yield Finding(where, f"{old!r} was no column's name", line)
    repeated = [one for one, count in Counter(table.renamed_from.values()).items() if count > 1]
    for old in repeated:
        yield Finding(where, f"{old!r} can have one new name", "one of them, and no other")


def _in_file_findings(table: Table) -> Iterator[Finding]:
    where, columns = f"table {table.name!r}, in_file", _columns_in_file(table)
    if not isinstance(table.in_file, Mapping):
        yield Finding(where, "it isn't a mapping", 'in_file={"our_name": "Name in the file"}')
        return
    for name, there in table.in_file.items():
        if name not in columns:
            line = f"in_file={{{nearest(name, columns)!r}: {there!r}}}"
            yield Finding(where, f"the contract has no column {name!r}", line)
        elif not isinstance(there, str):
            yield Finding(where, f"{there!r} is no name", f'in_file={{"{name}": "{there}"}}')
    names = Counter(table.in_file.get(name, name) for name in columns)
    for there in [one for one, count in names.items() if count > 1]:
        yield Finding(where, f"two columns are read from {there!r}", "one of them, and no other")


def _columns_in_file(table: Table) -> Mapping[str, Any]:
    """The columns of the table's files: of events, those that the features are made of."""
    contract = table.contract if table.events is None else getattr(table.events, "contract", None)
    columns: Mapping[str, Any] = getattr(contract, "columns", {})  # no contract is found elsewhere
    return columns


def _read_columns_findings(table: Table) -> Iterator[Finding]:
    where, given = f"table {table.name!r}, read_columns", table.read_columns
    columns = _columns_in_file(table)
    if not isinstance(given, Mapping):
        yield Finding(where, "it isn't a mapping", 'read_columns={"a_column": Csv(…)}')
        return
    for name, read in given.items():
        line = f'read_columns={{"{nearest(name, columns)}": Csv(…)}}'
        if name not in columns:
            yield Finding(where, f"the contract has no column {name!r}", line)
        elif not isinstance(read, Csv):
            yield Finding(where, f"{read!r} isn't a Csv", line)


def _date_findings(table: Table) -> Iterator[Finding]:
    where, given = f"table {table.name!r}, not_after_as_of", table.not_after_as_of
    types = contract_types(table)
    dates = [name for name, kind in types.items() if kind == "date"]
    if not isinstance(given, tuple | list):
        instead = given if given in dates else next(iter(dates), "a_date")
        yield Finding(where, "it isn't a tuple of columns", f'not_after_as_of=("{instead}",)')
        return
    for name in given:
        if name in dates:
            continue
        said = f"has the type {types[name]}" if name in types else "isn't in the contract"
        line = f'not_after_as_of=("{nearest(name, dates)}",)' if dates else "leave it out"
        yield Finding(where, f"{name!r} {said}; an as_of is compared with a date", line)


def _bad_column_name(name: object) -> str | None:
    if not isinstance(name, str) or not name or any(one in name for one in '"%\0'):
        return "a column's name is text without double quotes and per cent signs"
    if len(name.encode()) > MOST_NAME_BYTES:
        return f"its name is longer than {MOST_NAME_BYTES} bytes"
    if name in RESERVED_COLUMNS:
        return "history has a column of its own with this name"
    return None


def _supported(kind: str) -> str:
    """The type of ours that is most like the type `kind` of pandas."""
    if kind in POSTGRES_TYPES:
        return kind
    return next((ours for theirs, ours in _LIKE.items() if kind.startswith(theirs)), "string")


def null_of(column: Column) -> str:
    """Its `nullable` as it is written in a contract."""
    return ", nullable=True" if column.nullable else ""


def as_name(text: object) -> str:
    """A name in SQL that is like the text."""
    words = re.sub(r"\W+", "_", str(text).lower()).strip("_")
    return re.sub(r"^(?=[0-9])|^$", "table_", words)
