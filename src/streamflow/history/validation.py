"""A table's contract, held against a file of the month, a chunk at a time.

Row rules (types, nullability, ranges, allowed values) are pandera's, decided here; rules over
the whole set (unique keys, known keys) are SQL, in `streamflow.history.ingest`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamflow.errors import InvalidSettings
from streamflow.history.month_file import batches
from streamflow.history.violations import SHOWN_CHARACTERS, Report, Violation
from streamflow.use_case import Table

# What a contract's types are called in PostgreSQL, and what a value that isn't one is told.
POSTGRES_TYPES = {
    "string": "text",
    "Int64": "bigint",
    "Float64": "double precision",
    "boolean": "boolean",
    "date": "date",
}
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
    """The contract's columns in order, with their type's short name.

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


def read_checked(table: Table, path: Path, report: Report) -> Iterator[Any]:
    """Chunks of the file as Arrow record batches: `line`, then the contract's columns in its order.

    Each violation goes to `report`, and the value is null in the chunk; reading goes on as far as
    it can, so that one look tells all.
    """
    types = column_types(table)
    # Uniqueness is a rule over the whole set, which a chunk can't decide.
    contract = table.contract.update_columns({name: {"unique": False} for name in types})
    told: set[tuple[int | None, str | None]] = set()
    rows = 0

    def report_once(violation: Violation) -> None:
        # A value of a wrong type is null from here on: one violation, not two.
        if (violation.line, violation.column) not in told:
            told.add((violation.line, violation.column))
            report(violation)

    for batch in batches(path, list(types), report_once):
        typed = _typed(batch, types, path.name, report_once)
        _check_rows(typed, contract, path.name, report_once)
        rows += typed.num_rows
        yield typed
        told = {(None, None)} if told else told
    if rows == 0 and not told:
        report(Violation(path.name, None, None, None, "a file has a header and at least one row"))


def _typed(batch: Any, types: dict[str, str], file: str, report: Report) -> Any:
    """`line` and the contract's columns, typed; what isn't of its type is reported, and null.

    A row without any value (a blank line at the end of a file) is passed over.
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


def _null_if_empty(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_string(column.type):
        return column
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def _cast(column: Any, kind: str) -> tuple[Any, Any]:
    """The column as the contract's type, and a mask of the values that aren't of it."""
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
        column = _without(column, wrong)
    else:
        wrong = pa.array([False] * len(column))
    try:
        values = pc.cast(column, target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        values, unfit = _cast_one_by_one(column, target)
        wrong = pc.or_(wrong, unfit)
    if kind in ("Float64", "string"):
        odd = (
            pc.invert(pc.is_finite(values))
            if kind == "Float64"
            else pc.match_substring(values, "\0")
        )
        odd = pc.fill_null(odd, False)
        values, wrong = _without(values, odd), pc.or_(wrong, odd)
    return values, wrong


def _without(column: Any, mask: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(mask, pa.scalar(None, column.type), column)


def _cast_one_by_one(column: Any, target: Any) -> tuple[Any, Any]:
    """For the rare chunk in which a value of the right shape isn't one (2024-02-31)."""
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


def _check_rows(batch: Any, contract: Any, file: str, report: Report) -> None:
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
    """pandera's `in_range(0, 744)` and the like, as a rule that reads."""
    return check.replace("_", " ")
