"""Checks a month's file against its table's contract, a chunk at a time.

Rules for a row (types, nullability, ranges, allowed values) are pandera's and are checked here.
Rules for the whole set (unique keys, known keys) are SQL, in `streamflow.history.staging`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.errors import InvalidSettings
from streamflow.history.month_file import read_batches
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
# The rule that a value of another type breaks, by the contract's type.
_RULES = {
    "string": "text without NUL characters",
    "Int64": "a whole number",
    "Float64": "a finite number",
    "boolean": "true or false",
    "date": "a date as YYYY-MM-DD",
}
_PATTERNS = {
    "Int64": r"^[+-]?[0-9]{1,18}$",
    "Float64": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$",
    "boolean": r"^(true|false|True|False|TRUE|FALSE)$",
    "date": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
}


def column_types(table: Table) -> dict[str, str]:
    """The contract's columns in order, with the short names of their types, such as `Int64`.

    Raises InvalidSettings for a type that isn't supported.
    """
    types: dict[str, str] = {}
    for name, column in table.contract.columns.items():
        kind = str(column.dtype).split("[")[0]
        if kind not in POSTGRES_TYPES:
            raise InvalidSettings(
                f"Column {name!r} of table {table.name!r} has the type {kind!r} in its contract.",
                f"Use one of {', '.join(POSTGRES_TYPES)}.",
            )
        types[name] = kind
    return types


def read_checked(table: Table, path: Path, report: Report) -> Iterator[pa.RecordBatch]:
    """Chunks of the file: the column `line`, then the contract's columns, in its order and types.

    Each violation is reported once. A value of a wrong type is null in the chunk. Reading goes on
    as far as possible, so that one run reports all.
    """
    types = column_types(table)
    # Uniqueness is a rule for the whole set, which can't be checked in a chunk.
    contract = table.contract.update_columns({name: {"unique": False} for name in types})
    reported: set[tuple[int | None, str | None]] = set()
    rows = 0

    def report_once(violation: Violation) -> None:
        # A value of a wrong type is null in the chunk, which would break a second rule.
        if (violation.line, violation.column) not in reported:
            reported.add((violation.line, violation.column))
            report(violation)

    for batch in read_batches(path, list(types), report_once):
        typed = _typed(batch, types, path.name, report_once)
        _check_rows(typed, contract, path.name, report_once)
        rows += typed.num_rows
        yield typed
        reported = {(None, None)} if reported else reported
    if rows == 0 and not reported:
        report(Violation(path.name, None, None, None, "a file has a header and at least one row"))


def _typed(
    batch: pa.RecordBatch, types: dict[str, str], file: str, report: Report
) -> pa.RecordBatch:
    """`line` and the contract's columns with their types; a value of another type becomes null.

    A row without any value, such as a blank line at the end of a file, is left out.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {name: _null_if_empty(batch.column(name)) for name in types}
    blank = None
    for column in columns.values():
        nulls = pc.is_null(column)
        blank = nulls if blank is None else pc.and_(blank, nulls)
    lines = batch.column("line")
    typed = [lines]
    for name, kind in types.items():
        values, wrong = _cast(columns[name], kind)
        for line, value in zip(
            lines.filter(wrong).to_pylist(), columns[name].filter(wrong).to_pylist(), strict=True
        ):
            shown = str(value)[:SHOWN_CHARACTERS]
            report(Violation(file, line, name, shown, f"a value is {_RULES[kind]}"))
        typed.append(values)
    return pa.record_batch(typed, names=["line", *types]).filter(pc.invert(blank))


def _null_if_empty(column: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_string(column.type):
        return column
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def _cast(column: pa.Array, kind: str) -> tuple[pa.Array, pa.Array]:
    """The column as the contract's type, and a boolean mask of the values of another type."""
    import pyarrow as pa
    import pyarrow.compute as pc

    target = {
        "string": pa.string(),
        "Int64": pa.int64(),
        "Float64": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
    }[kind]
    if pa.types.is_string(column.type) and kind != "string":
        wrong = pc.fill_null(pc.invert(pc.match_substring_regex(column, _PATTERNS[kind])), False)
        column = _null_where(column, wrong)
    else:
        wrong = pa.array([False] * len(column))
    try:
        values = pc.cast(column, target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        values, failed = _cast_one_by_one(column, target)
        wrong = pc.or_(wrong, failed)
    if kind in ("Float64", "string"):
        invalid = (
            pc.invert(pc.is_finite(values))
            if kind == "Float64"
            else pc.match_substring(values, "\0")
        )
        invalid = pc.fill_null(invalid, False)
        values, wrong = _null_where(values, invalid), pc.or_(wrong, invalid)
    return values, wrong


def _null_where(column: pa.Array, mask: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(mask, pa.scalar(None, column.type), column)


def _cast_one_by_one(column: pa.Array, target: pa.DataType) -> tuple[pa.Array, pa.Array]:
    """As `_cast`, for the rare chunk with a value like 2024-02-31, on which Arrow's cast fails."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values, wrong = [], []
    for value in column:
        try:
            values.append(pc.cast(value, target).as_py())
            wrong.append(False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            values.append(None)
            wrong.append(True)
    return pa.array(values, target), pa.array(wrong)


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
    return check.replace("_", " ")
