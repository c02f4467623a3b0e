"""What a later month has that the use case's contract doesn't: lines to write, nothing changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from streamflow.history.column_findings import contract_types
from streamflow.history.events.events_table import event_kinds
from streamflow.history.values import checked
from streamflow.scaffold.contract_code import read_code, text_code
from streamflow.scaffold.names import plain_name
from streamflow.scaffold.profile import Column, Profile
from streamflow.scaffold.raw_tables import RawTable
from streamflow.use_case import Csv, Table


@dataclass(frozen=True)
class MonthChange:
    """A difference between a month's file and its contract, and the line to write for it."""

    table: str
    column: str
    what: str
    line: str


def month_changes(
    tables: Sequence[Table], profiles: Sequence[Profile], left_out: Collection[str] = ()
) -> Iterator[MonthChange]:
    """What the files have that the contract doesn't allow, or that it asks for and they lack.

    `left_out` are the files that aren't read, by their places.
    """
    found = {(one.raw.file, one.raw.sheet): one for one in profiles}
    for table in tables:
        profile = found.pop((table.file or table.name, table.sheet), None)
        if profile is None:
            if not table.arrives_later:
                yield MonthChange(table.name, "", "the folder has no file of it", "")
            continue
        yield from _of_form(table, profile)
        yield from _of_table(table, profile)
    for profile in found.values():
        if profile.raw.place not in left_out:
            name, place = profile.raw.name, text_code(profile.raw.place)
            line = f'Table("{name}", DataFrameSchema({{…}})), or {place} in LEFT_OUT'
            yield MonthChange(name, "", "a new file", line)


def _of_form(table: Table, profile: Profile) -> Iterator[MonthChange]:
    """How the file as a whole is written otherwise than the contract says."""
    raw = profile.raw
    there, expected = raw.read, table.read
    if raw.path.suffix == ".parquet":
        return
    told = {}
    if there.skip_lines != expected.skip_lines:
        told["skip_lines"] = f"{there.skip_lines} lines are above the header"
    if raw.path.suffix != ".xlsx":
        if there.separator != expected.separator:
            told["separator"] = f"values are separated by {there.separator!r}"
        if there.encoding != expected.encoding and _encoding_matters(raw, expected.encoding):
            told["encoding"] = f"the file is in {there.encoding}"
    if new := [one for one in there.total_rows if one not in expected.total_rows]:
        told["total_rows"] = f"a row of {new[0]!r} sums up the others"
    if told:
        parts = {name: getattr(there, name) for name in told}
        line = f"read={read_code(replace(expected, **parts))}"
        yield MonthChange(table.name, "", "; ".join(told.values()), line)


def _encoding_matters(raw: RawTable, expected: str) -> bool:
    """Whether the file's text is another in the expected encoding: of ASCII alone it isn't."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if "utf-16" in (raw.read.encoding, expected):
        return True
    texts = [raw.rows[one] for one in raw.columns if pa.types.is_string(raw.rows[one].type)]
    plain = all(pc.all(pc.string_is_ascii(one)).as_py() is not False for one in texts)
    return not plain or not all(map(str.isascii, raw.columns))


def _of_table(table: Table, profile: Profile) -> Iterator[MonthChange]:
    if table.events is None:
        types = contract_types(table)
    else:
        types, table = event_kinds(table), replace(table, contract=table.events.contract)
    there = {table.in_file.get(name, name): name for name in types}
    names = {one.name for one in profile.columns}
    for column in profile.columns:
        if column.name not in there:
            ours = plain_name(column.name)
            yield MonthChange(
                table.name,
                column.name,
                f"a new column of {_said(column)}",
                f'"{ours}": Column("{column.kind}"{_null(column)}, required=False),'
                + (f' and in_file={{"{ours}": "{column.name}"}}' if ours != column.name else ""),
            )
            continue
        ours = there[column.name]
        yield from _of_column(table, profile, ours, types[ours], column)
    for name in sorted(set(there) - names):
        kind = str(table.contract.columns[there[name]].dtype)
        kind = kind if kind.startswith("datetime64") else types[there[name]]
        line = f'"{there[name]}": Column("{kind}", nullable=True, required=False),'
        if table.contract.columns[there[name]].required:
            yield MonthChange(table.name, name, "the file lacks the column", line)


def _of_column(
    table: Table, profile: Profile, ours: str, kind: str, column: Column
) -> Iterator[MonthChange]:
    import pyarrow.compute as pc

    contract = table.contract.columns[ours]
    rows = profile.raw.rows[column.name].combine_chunks()
    values, wrong = checked(rows, kind, table.read_of(ours))
    if pc.any(wrong).as_py():
        first = pc.index(wrong, True).as_py()
        line, value = profile.raw.rows["line"][first].as_py(), str(rows[first].as_py())
        said = f"line {line}: {value!r}; the contract has {kind}"
        other = f'"{ours}": Column("{column.kind}"{_null(column)}),'
        read = profile.raw.read_of(column.name)
        if not pc.any(checked(rows, kind, read)[1]).as_py():
            said = f"line {line}: {value!r} is written otherwise than the contract has {kind}"
            other = _read_line(table, profile, ours, column)
        yield MonthChange(table.name, column.name, said, other)
        return
    if values.null_count and not contract.nullable:
        said = f"{values.null_count:,} rows have no value"
        line_to_write = f'"{ours}": Column("{kind}", …, nullable=True),'
        yield MonthChange(table.name, column.name, said, line_to_write)
    for check in contract.checks:
        allowed = check.statistics.get("allowed_values")
        there = [*values.unique().drop_null().to_pylist()] if allowed is not None else []
        if allowed is not None and (new := sorted({*there} - {*allowed})):
            values_to_write = ", ".join(
                f'"{one}"' if isinstance(one, str) else repr(one) for one in [*allowed, *new]
            )
            yield MonthChange(
                table.name,
                column.name,
                f"new values {', '.join(map(repr, new))}",
                f'"{ours}": Column("{kind}", Check.isin([{values_to_write}])),',
            )
        least = check.statistics.get("min_value")
        lowest = column.lowest if kind in ("Int64", "Float64") else None
        if least is not None and lowest is not None and float(lowest) < least:
            line = f'"{ours}": Column("{kind}", Check.ge({lowest})),'
            yield MonthChange(table.name, column.name, f"{lowest} is below {least}", line)


def _read_line(table: Table, profile: Profile, ours: str, column: Column) -> str:
    """The line that says how the column is written: the table's if all of it is written so."""
    whole = not table.read_columns and column.name not in profile.raw.read_columns
    file = table.read if whole else Csv()
    read = replace(
        profile.raw.read_of(column.name),
        separator=file.separator,
        encoding=file.encoding,
        skip_lines=file.skip_lines,
        total_rows=file.total_rows,
    )
    if whole:
        return f"read={read_code(read)}"
    return f'read_columns={{"{ours}": {read_code(read)}}}'


def _said(column: Column) -> str:
    return {
        "string": "text",
        "Int64": "whole numbers",
        "Float64": "numbers",
        "boolean": "true or false",
        "date": "dates",
    }[column.kind]


def _null(column: Column) -> str:
    return ", nullable=True" if column.nulls else ""
