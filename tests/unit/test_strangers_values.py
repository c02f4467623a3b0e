"""What strangers' files have: each the right value, or an error that names file, line, column,
value, rule and the line to write."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from streamflow.errors import MissingFiles
from streamflow.history.files.month_folder import find_files
from streamflow.history.validation import read_checked
from streamflow.history.violations import Violation
from streamflow.use_case import Csv, Table

NULL_TOLD = 'write in the use case read=Csv(null=("", "{}")), and nullable=True in its Column'


def month(kind: str, nullable: bool = True, **said: Any) -> Table:
    """A table of a key and a column `x`."""
    from pandera.pandas import Column, DataFrameSchema

    columns = {"id": Column("string"), "x": Column(kind, nullable=nullable)}
    return Table("users", DataFrameSchema(columns), **said)


def read(table: Table, path: Path) -> tuple[list[Any], list[Violation]]:
    told: list[Violation] = []
    rows = [row for batch in read_checked(table, path, told.append) for row in batch.to_pylist()]
    return [row.get("x") for row in rows], told


def parquet(folder: Path, values: Any, kind: Any = None) -> Path:
    import pyarrow as pa
    import pyarrow.parquet

    column = values if isinstance(values, pa.Array) else pa.array(values, kind)
    keys = pa.array([f"u{n}" for n in range(len(column))])
    pa.parquet.write_table(pa.table({"id": keys, "x": column}), folder / "users.parquet")
    return folder / "users.parquet"


def csv_file(folder: Path, value: str) -> Path:
    (folder / "users.csv").write_text(f'id,x\nu0,"{value}"\n', encoding="utf-8")
    return folder / "users.csv"


def arrow(values: list[Any], kind: str, **more: Any) -> Any:
    import pyarrow as pa

    return pa.array(values, getattr(pa, kind)(*more.get("of", ())))


TAKEN: dict[str, tuple[str, Callable[[], Any], list[Any]]] = {
    "V1 floats for a boolean, all NaN": ("boolean", lambda: [float("nan")] * 2, [None, None]),
    "V4 large text": ("Int64", lambda: arrow(["16", None], "large_string"), [16, None]),
    "V4 a dictionary of texts": (
        "boolean",
        lambda: arrow(["true", "false"], "string").dictionary_encode(),
        [True, False],
    ),
    "V5 string views": ("string", lambda: arrow(["a", "b"], "string_view"), ["a", "b"]),
    "V3 a day of a timestamp in UTC": (
        "date",
        lambda: arrow([datetime(2024, 1, 31, tzinfo=UTC)], "timestamp", of=("us", "UTC")),
        [date(2024, 1, 31)],
    ),
}


@pytest.mark.parametrize("what", TAKEN)
def test_a_parquet_column_is_taken_for_what_it_says(what: str, tmp_path: Path) -> None:
    kind, values, expected = TAKEN[what]
    assert read(month(kind), parquet(tmp_path, values())) == (expected, [])


REFUSED: dict[str, tuple[str, Callable[[], Any], str]] = {
    "V2 a fraction for a boolean": ("boolean", lambda: [0.3], "0.3"),
    "V2 two for a boolean": ("boolean", lambda: [2.0], "2"),
    "V2 minus one for a boolean": ("boolean", lambda: [-1.0], "-1"),
    "V3 a number for a day": ("date", lambda: arrow([45322], "int32"), "45322"),
    "V3 a time of day": ("date", lambda: [datetime(2024, 1, 31, 13, 45, tzinfo=UTC)], "13:45"),
    "V3 a day of New York": (
        "date",
        lambda: arrow(
            [datetime(2024, 1, 31, 23, tzinfo=ZoneInfo("America/New_York"))],
            "timestamp",
            of=("us", "America/New_York"),
        ),
        "18:00",
    ),
    "V4 a number of base 16": ("Int64", lambda: ["0x10"], "0x10"),
    "V5 a day of the year -1": ("date", lambda: arrow([-720_000], "int32").cast("date32"), "-00"),
    "V5 a day of the year 99999": (
        "date",
        lambda: arrow([35_800_000], "int32").cast("date32"),
        "35800000",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_parquet_column_that_is_something_else_is_refused_with_its_place(
    what: str, tmp_path: Path
) -> None:
    kind, values, shown = REFUSED[what]
    _, (told,) = read(month(kind), parquet(tmp_path, values()))
    assert (told.file, told.line, told.column) == ("users.parquet", 2, "x")
    assert shown in (told.value or "")
    assert told.rule.startswith("a value is ")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("Int64", "1234567890123456789", 1234567890123456789),  # V6
        ("Int64", "55.0", 55),  # V7
        ("string", "NA", "NA"),  # V12, unless the table says so
        ("string", "Smith, John", "Smith, John"),
        ("Float64", "1e3", 1000.0),
        ("boolean", "TRUE", True),
    ],
)
def test_a_text_is_taken(kind: str, text: str, value: Any, tmp_path: Path) -> None:
    assert read(month(kind), csv_file(tmp_path, text)) == ([value], [])


LINES = [
    ("Float64", "NA", NULL_TOLD.format("NA")),
    ("Int64", " ", NULL_TOLD.format(" ")),
    ("boolean", "unknown", NULL_TOLD.format("unknown")),
    ("date", "-", NULL_TOLD.format("-")),
    ("boolean", "Yes", 'read=Csv(true=("Yes",), false=("No",))'),
    ("boolean", "nein", 'read=Csv(true=("ja",), false=("nein",))'),
    ("boolean", "1", 'read=Csv(true=("1",), false=("0",))'),
    ("date", "31.01.2024", 'read=Csv(date="DD.MM.YYYY")'),
    ("date", "01/31/2024", 'read=Csv(date="MM/DD/YYYY")'),
    ("date", "01/02/2024", 'read=Csv(date="DD/MM/YYYY" or date="MM/DD/YYYY")'),
    ("date", "2024/01/31", 'read=Csv(date="YYYY/MM/DD")'),
    ("Float64", "1,5", 'read=Csv(decimal=",")'),
    ("Float64", "1,500", 'read=Csv(decimal=",")'),
    ("Float64", "1,500", 'read=Csv(thousands=",")'),
    ("Float64", "1.234,50", 'read=Csv(decimal=",", thousands=".")'),
    ("Float64", "1'234.50", 'read=Csv(thousands="\'")'),
    ("Float64", "12.5%", 'read=Csv(units=("%",))'),
    ("Float64", "$ 12", 'read=Csv(units=("$",))'),
    ("Int64", "12 EUR", 'read=Csv(units=("EUR",))'),
]


@pytest.mark.parametrize(("kind", "text", "line"), LINES)
def test_a_text_that_is_written_otherwise_is_told_with_the_line_to_write(
    kind: str, text: str, line: str, tmp_path: Path
) -> None:
    path = csv_file(tmp_path, text)
    _, (told,) = read(month(kind), path)
    assert (told.file, told.line, told.column, told.value) == ("users.csv", 2, "x", text)
    assert line in told.rule
    # And it is the right one: with it, the value is taken.
    if " or " not in line:
        said = line[line.index("Csv(") :].replace(", and nullable=True in its Column", "")
        form = eval(said, {"Csv": Csv})  # our own text
        assert read(month(kind, read=form), path)[1] == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *(("Int64", text) for text in ("0x10", "12a4", "1.5", "--5", "inf", "1e3")),
        *(("Float64", text) for text in ("abc", "1.2.3", "12 34")),
        *(("date", text) for text in ("2024-02-31", "0000-01-01", "32.13.2024", "Jan 31")),
        *(("boolean", text) for text in ("2", "maybe", "0.3")),
    ],
)
def test_a_text_that_is_nothing_plain_is_told_without_a_line(
    kind: str, text: str, tmp_path: Path
) -> None:
    _, (told,) = read(month(kind), csv_file(tmp_path, text))
    assert (told.line, told.column, told.value) == (2, "x", text)
    assert "; if " not in told.rule


HEADERS = {
    "V8 semicolons": (b"id;x\nu0;1\n", 'read=Csv(separator=";"))'),
    "V8 tabs": (b"id\tx\nu0\t1\n", 'read=Csv(separator="\\t"))'),
    "V8 a title": (b"Users of January\nid,x\nu0,1\n", "read=Csv(skip_lines=1))"),
    "V8 sep=": (b"sep=,\nid,x\nu0,1\n", "read=Csv(skip_lines=1))"),
    "V9 a blank first line": (b"\nid,x\nu0,1\n", "read=Csv(skip_lines=1))"),
    "V9 a space in the header": (b"id,x \nu0,1\n", "the file has 'x[U+0020]' instead"),
    "V9 a name is missing": (b"id,x,\nu0,1,2\n", 'the table says extra_columns="ignore"'),
    "V11 a column more": (b"id,x,y\nu0,1,2\n", 'the table says extra_columns="ignore"'),
    "the column twice": (b"id,x,x\nu0,1,2\n", "a column is there once"),
    "cp1252": ("id,x\nRené,1\n".encode("cp1252"), 'read=Csv(encoding="cp1252")'),
    "UTF-16": ("id,x\nu0,1\n".encode("utf-16"), 'read=Csv(encoding="utf-16")'),
    "a row that is too short": (b"id,x\nu0\n", "a row has 2 values, not 1"),
    "nothing": (b"", "a file has a header and at least one row"),
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_file_that_is_written_otherwise_is_told_with_the_line_to_write(
    what: str, tmp_path: Path
) -> None:
    text, line = HEADERS[what]
    (tmp_path / "users.csv").write_bytes(text)
    _, told = read(month("Int64"), tmp_path / "users.csv")
    assert any(line in one.rule for one in told), [str(one) for one in told]
    assert len(told) <= 2
    if "a header and" not in line:
        assert told[0].line is not None


def test_files_under_other_names_are_told_or_taken(tmp_path: Path) -> None:  # V10
    tables = (month("Int64"),)
    (tmp_path / "Users.CSV").write_bytes(b"id,x\nu0,1\n")
    with pytest.raises(MissingFiles, match=r"'Users\.CSV': rename it to users\.csv"):
        find_files(tmp_path, tables)
    (tmp_path / "users.csv.gz").write_bytes(gzip.compress(b"id,x\nu0,1\n"))
    found = find_files(tmp_path, tables)
    assert read(tables[0], found["users"]) == ([1], [])


def test_a_damaged_page_is_told_with_its_column_and_line(tmp_path: Path) -> None:  # V5
    path = parquet(tmp_path, list(range(1000)))
    damaged = bytearray(path.read_bytes())
    damaged[40:120] = bytes(80)
    path.write_bytes(damaged)
    _, told = read(month("Int64"), path)
    assert told[0].file == "users.parquet"
    assert told[0].rule.startswith(("a column can be read from this line on", "a file is Parquet"))
