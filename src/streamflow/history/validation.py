"""Checks a month's file against its table's contract, a chunk at a time.

Rules for a row (types, nullability, ranges, allowed values) are pandera's and are checked here.
Rules for the whole set (unique keys, known keys) are SQL, in `streamflow.history.staging`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.errors import InvalidSettings
from streamflow.history.files.month_file import column_names, read_batches
from streamflow.history.files.month_rows import MonthRows
from streamflow.history.files.plain_columns import plain, shown
from streamflow.history.files.written_text import rule as rule_of
from streamflow.history.values import checked
from streamflow.history.violations import SHOWN_CHARACTERS, Report, Violation
from streamflow.use_case import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from pandera.pandas import DataFrameSchema

# PostgreSQL's type by the contract's.
POSTGRES_TYPES = {
    "string": "text",
    "Int64": "bigint",
    "Float64": "double precision",
    "boolean": "boolean",
    "date": "date",
}

# Of a batch, so that no batch takes much memory as a frame of pandas.
_MOST_ROWS = 65_536

# A column of events may be a time besides.
EVENT_TYPES = {**POSTGRES_TYPES, "datetime64": "timestamp with time zone"}


def column_types(table: Table, known: Mapping[str, str] = POSTGRES_TYPES) -> dict[str, str]:
    """The contract's columns in order, with the short names of their types, such as `Int64`.

    Raises InvalidSettings for a type that isn't supported.
    """
    types: dict[str, str] = {}
    for name, column in table.contract.columns.items():
        kind = str(column.dtype).split("[")[0]
        if kind not in known:
            raise InvalidSettings(
                f"Column {name!r} of table {table.name!r} has the type {kind!r} in its contract.",
                f"Use one of {', '.join(known)}.",
            )
        types[name] = kind
    return types


def read_checked(
    table: Table,
    path: Path,
    report: Report,
    month: MonthRows | None = None,
    types: Mapping[str, str] | None = None,
    *,
    may_be_empty: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Chunks of the file: the column `line`, then the contract's columns, in its order and types.
    With `month`, of its rows alone; `types` are the columns' kinds of value (`values.checked`),
    if they aren't those that the contract alone says. With `may_be_empty`, a header is enough.

    Each violation is reported once. A value of a wrong type is null in the chunk. Reading goes on
    as far as possible, so that one run reports all.
    """
    types = types or column_types(table)
    # Uniqueness is a rule for the whole set, which can't be checked in a chunk; types are checked
    # before.
    checked_here = {"unique": False, "dtype": None}
    contract = table.contract.update_columns(dict.fromkeys(types, checked_here))
    reported: set[tuple[int | None, str | None]] = set()
    rows = 0

    def report_once(violation: Violation) -> None:
        # A value of a wrong type is null in the chunk, which would break a second rule.
        if (violation.line, violation.column) not in reported:
            reported.add((violation.line, violation.column))
            report(violation)

    read = read_batches if month is None else month.batches
    for batch in _smaller(read(path, table, report_once)):
        typed = _typed(batch, types, table, path.name, report_once)
        _check_rows(typed, contract, path.name, report_once)
        rows += typed.num_rows
        yield typed
        reported = {(None, None)} if reported else reported
    if rows == 0 and not reported and not (may_be_empty and column_names(path, table)):
        rule = "a file has a header and at least one row"
        if month is not None:
            rule = f"a file has at least one row whose {month.column} is that of {month.as_of}"
        report(Violation(path.name, None, None, None, rule))


def _smaller(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in smaller batches."""
    for batch in batches:
        for first in range(0, max(batch.num_rows, 1), _MOST_ROWS):
            yield batch.slice(first, _MOST_ROWS)


def _typed(
    batch: pa.RecordBatch, types: Mapping[str, str], table: Table, file: str, report: Report
) -> pa.RecordBatch:
    """`line` and the contract's columns with their types; a value of another type becomes null.

    A row without any value, such as a blank line at the end of a file, is left out.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    lines = batch.column("line")
    typed, blank = [lines], pa.repeat(True, batch.num_rows)
    for name, kind in types.items():
        column = batch.column(name)
        values, wrong = checked(column, kind, table.read_of(name))
        if pc.any(wrong).as_py():
            found = zip(lines.filter(wrong).to_pylist(), shown(column, wrong), strict=True)
            for line, value in found:
                rule = f"a value is {rule_of(kind, value, table.read_of(name))}"
                report(Violation(file, line, name, value[:SHOWN_CHARACTERS], rule))
        typed.append(values)
        if pc.any(blank).as_py():
            blank = pc.and_(blank, _is_blank(column))
    rows = pa.record_batch(typed, names=["line", *types])
    return rows.filter(pc.invert(blank)) if pc.any(blank).as_py() else rows


def _is_blank(column: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    column, _ = plain(column) if not pa.types.is_string(column.type) else (column, None)
    if pa.types.is_string(column.type):
        return pc.equal(pc.fill_null(column, ""), "")
    return column.is_null()


def _check_rows(
    batch: pa.RecordBatch, contract: DataFrameSchema, file: str, report: Report
) -> None:
    import pandas
    import pandera.errors
    import pyarrow as pa

    pandas_types = {
        pa.string(): pandas.StringDtype(),
        pa.int64(): pandas.Int64Dtype(),
        pa.float64(): pandas.Float64Dtype(),
        pa.bool_(): pandas.BooleanDtype(),
    }
    frame = batch.to_pandas(types_mapper=pandas_types.get)
    frame.index = frame.pop("line").astype("int64")
    try:
        contract.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        for case in errors.failure_cases.itertuples():
            line = None if pandas.isna(case.index) else int(case.index)
            null = case.check == "not_nullable"
            report(
                Violation(
                    file,
                    line,
                    case.column,
                    None if null else str(case.failure_case)[:SHOWN_CHARACTERS],
                    "a value is there" if null else _in_words(str(case.check)),
                )
            )


def _in_words(check: str) -> str:
    """The rule of a pandera check such as `in_range(0, 744)`."""
    name, bracket, rest = check.partition("(")
    return f"{name.replace('_', ' ')}{bracket}{rest}"
