"""A month's file held against its contract: what is read, and what is said of the rest."""

from __future__ import annotations

import csv
import gzip
import io
import random
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.excel import write_workbook

from streamflow.errors import ContractViolation, InvalidSettings
from streamflow.history.files import csv_file
from streamflow.history.validation import read_checked
from streamflow.history.violations import SHOWN_CHARACTERS, SHOWN_VIOLATIONS, Violation, Violations
from streamflow.use_case import Csv, Table

HEADER = "tree,age,height,grafted,planted,note"


@pytest.fixture(scope="module")
def table() -> Table:
    from pandera.pandas import Check, Column, DataFrameSchema

    return Table(
        "trees",
        DataFrameSchema(
            {
                "tree": Column("string", Check.str_length(1, 64), unique=True),
                "age": Column("Int64", Check.ge(0)),
                "height": Column("Float64", Check.in_range(0, 100)),
                "grafted": Column("boolean", nullable=True),
                "planted": Column("date"),
                "note": Column("string", nullable=True),
            }
        ),
    )


class Reading:
    """Everything that reading a file gives."""

    def __init__(self, table: Table, path: Path) -> None:
        self.violations: list[Violation] = []
        self.batches = [batch.to_pylist() for batch in read_checked(table, path, self.add)]
        self.rows: list[dict[str, Any]] = [row for batch in self.batches for row in batch]

    def add(self, violation: Violation) -> None:
        self.violations.append(violation)

    @property
    def lines(self) -> dict[str, int]:
        return {row["tree"]: row["line"] for row in self.rows}

    @property
    def told(self) -> list[tuple[int | None, str | None, str | None, str]]:
        return sorted(
            ((one.line, one.column, one.value, one.rule) for one in self.violations), key=str
        )


def read_csv(table: Table, folder: Path, text: str | bytes) -> Reading:
    path = folder / "trees.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Reading(table, path)


def rows(*lines: str) -> str:
    return "\n".join([HEADER, *lines, ""])


def good(tree: str, note: str = "") -> str:
    return f"{tree},3,2.5,True,2020-02-29,{note}"


def test_a_good_file_comes_back_typed_with_its_lines(table: Table, tmp_path: Path) -> None:
    done = read_csv(table, tmp_path, rows(good("007", "old"), "b,0,1e1,,1999-12-31,"))
    assert done.violations == []
    assert done.rows == [
        {
            "line": 2,
            "tree": "007",
            "age": 3,
            "height": 2.5,
            "grafted": True,
            "planted": date(2020, 2, 29),
            "note": "old",
        },
        {
            "line": 3,
            "tree": "b",
            "age": 0,
            "height": 10.0,
            "grafted": None,
            "planted": date(1999, 12, 31),
            "note": None,
        },
    ]


@pytest.mark.parametrize(
    "dress",
    [
        pytest.param(lambda text: b"\xef\xbb\xbf" + text.encode(), id="a byte-order mark"),
        pytest.param(lambda text: text.replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param(lambda text: (text + "\n").encode(), id="a blank last line"),
        pytest.param(lambda text: text.rstrip("\n").encode(), id="no last line end"),
        pytest.param(
            lambda text: "\n".join(
                ",".join(f'"{value}"' for value in line.split(","))
                for line in text.strip().split("\n")
            ).encode(),
            id="quoted",
        ),
        pytest.param(
            lambda text: "\n".join(
                ",".join(reversed(line.split(","))) for line in text.strip().split("\n")
            ).encode(),
            id="other order",
        ),
    ],
)
def test_a_file_in_another_dress_is_read_as_what_it_is(
    table: Table, tmp_path: Path, dress: Any
) -> None:
    text = rows(good("a", "Kräuter"), "b,0,10.5,,1999-12-31,x")
    plain = read_csv(table, tmp_path, text)
    dressed = read_csv(table, tmp_path, dress(text))
    assert dressed.violations == []
    assert dressed.rows == plain.rows


WRONG = [
    ("age", "1.5", "a value is a whole number"),
    ("age", "0x10", "a value is a whole number"),
    ("age", "9007199254740994.0", "a value is a whole number"),
    ("age", "9223372036854775808", "a value is a whole number from"),
    ("age", "9" * 5000, "a value is a whole number from"),
    ("age", "twelve", "a value is a whole number"),
    ("age", " 3", "a value is a whole number"),
    ("age", "12345678901234567890", "a value is a whole number"),
    ("age", "-1", "greater than or equal to(0)"),
    ("height", "nan", "a value is a finite number"),
    ("height", "inf", "a value is a finite number"),
    ("height", "1e999", "a value is a finite number"),
    ("height", "1,5", "a value is a finite number"),
    ("height", "100.5", "in range(0, 100)"),
    ("grafted", "1", "a value is true or false"),
    ("grafted", "yes", "a value is true or false"),
    ("planted", "29.02.2020", "a value is a date as YYYY-MM-DD"),
    ("planted", "0000-01-01", "a value is a date as YYYY-MM-DD of the years 1 to 9999"),
    ("planted", "2020-01-01 00:00:00", "a value is a date as YYYY-MM-DD"),
    ("planted", "2023-02-29", "a value is a date as YYYY-MM-DD"),
    ("note", "a\0b", "a value is text without NUL characters"),
]


@pytest.mark.parametrize(("column", "value", "rule"), WRONG)
def test_a_wrong_value_is_told_once_with_line_column_value_and_rule(
    table: Table, tmp_path: Path, column: str, value: str, rule: str
) -> None:
    values = dict(zip(HEADER.split(","), good("b").split(","), strict=True)) | {
        column: f'"{value}"'
    }
    done = read_csv(table, tmp_path, rows(good("a"), ",".join(values.values()), good("c")))
    assert len(done.violations) == 1
    (line, where, found, broken) = done.told[0]
    assert (line, where, found) == (3, column, value[:SHOWN_CHARACTERS])
    assert broken.startswith(rule)
    assert list(done.lines) == ["a", "b", "c"], "reading goes on, so that one look tells all"


@pytest.mark.parametrize("column", ["tree", "age", "height", "planted"])
def test_a_missing_value_is_told_where_one_has_to_be(
    table: Table, tmp_path: Path, column: str
) -> None:
    values = dict(zip(HEADER.split(","), good("b").split(","), strict=True)) | {column: ""}
    done = read_csv(table, tmp_path, rows(good("a"), ",".join(values.values())))
    assert done.told == [(3, column, None, "a value is there")]


def test_a_long_value_is_told_by_its_beginning(table: Table, tmp_path: Path) -> None:
    long = "x" * 1_000_000
    done = read_csv(table, tmp_path, rows(good(long), f"b,{long},1,,2020-01-01,", f"c,{long}"))
    assert [one.line for one in done.violations].count(2) == 1
    assert len(done.violations) == 3
    for one in done.violations:
        assert one.value is not None
        assert len(one.value) == SHOWN_CHARACTERS


def test_lines_are_right_after_a_row_with_too_few_or_too_many_values(
    table: Table, tmp_path: Path
) -> None:
    text = rows("a,1", good("b"), good("c") + ",extra", "d,1", "e,-5,1,,2020-01-01,")
    done = read_csv(table, tmp_path, text)
    assert done.lines == {"b": 3, "e": 6}
    assert done.told == [
        (2, None, "a,1", "a row has 6 values, not 2"),
        (4, None, good("c") + ",extra", "a row has 6 values, not 7"),
        (5, None, "d,1", "a row has 6 values, not 2"),
        (6, "age", "-5", "greater than or equal to(0)"),
    ]


def test_lines_are_right_after_a_quoted_line_break(table: Table, tmp_path: Path) -> None:
    text = rows(good("a", '"two\nlines"'), "b,-5,1,,2020-01-01,", good("c", '"\n\n"'), good("d"))
    done = read_csv(table, tmp_path, text)
    assert done.lines == {"a": 2, "b": 4, "c": 5, "d": 8}
    assert [one.line for one in done.violations] == [4]


def test_lines_are_right_where_quoted_line_breaks_and_broken_rows_meet(
    table: Table, tmp_path: Path
) -> None:
    text = rows(good("a", '"two\nlines"'), good("b"), "c,1", good("d"), 'e,"\n",1', good("f"))
    done = read_csv(table, tmp_path, text)
    assert done.lines == {"a": 2, "b": 4, "d": 6, "f": 9}
    assert [one.line for one in done.violations] == [5, 7]


def test_lines_are_right_after_a_blank_line(table: Table, tmp_path: Path) -> None:
    done = read_csv(table, tmp_path, rows(good("a"), "", good("b"), "", "", good("c")))
    assert done.violations == []
    assert done.lines == {"a": 2, "b": 4, "c": 7}


def test_lines_are_right_in_the_second_chunk(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_file, "CHUNK_BYTES", 128)
    lines = [good(f"t{i:02}") for i in range(20)]
    lines[2], lines[11] = "short,1", "wrong,x,1,,2020-01-01,"
    done = read_csv(table, tmp_path, rows(*lines))
    assert len(done.batches) > 3
    assert done.lines == {line.split(",")[0]: i + 2 for i, line in enumerate(lines) if i != 2}
    assert sorted(one.line or 0 for one in done.violations) == [4, 13]


@pytest.mark.parametrize("padding", range(0, 40, 3))
def test_a_chunk_may_end_inside_a_quoted_line_break(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, padding: int
) -> None:
    monkeypatch.setattr(csv_file, "CHUNK_BYTES", 128)
    notes = ['"' + "x" * padding + '"', *['"two\nlines"'] * 19]
    done = read_csv(
        table, tmp_path, rows(*(good(f"t{i:02}", note) for i, note in enumerate(notes)))
    )
    assert done.violations == []
    assert list(done.lines.values()) == [2, *range(3, 3 + 2 * 19, 2)]
    assert [row["note"] for row in done.rows[1:]] == ["two\nlines"] * 19


ONLY = 'only the contract\'s columns are there; or the table says extra_columns="ignore"'


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (
            HEADER.replace(",note", ""),
            [
                (
                    "note",
                    "the column is there; or its Column(…, required=False) says that a file may "
                    "lack it",
                )
            ],
        ),
        (HEADER + ",colour", [("colour", ONLY)]),
        (HEADER + ",", [("", 'a column has a name; or the table says extra_columns="ignore"')]),
        (HEADER + ",age", [("age", "a column is there once")]),
        (
            HEADER.replace("note", "Note"),
            [("note", "the column is there; the file has 'Note' instead"), ("Note", ONLY)],
        ),
        (
            HEADER.replace("age", "age "),
            [("age", "the column is there; the file has 'age[U+0020]' instead"), ("age ", ONLY)],
        ),
    ],
)
def test_columns_that_do_not_fit_are_named(
    table: Table, tmp_path: Path, header: str, told: list[tuple[str, str]]
) -> None:
    done = read_csv(table, tmp_path, f"{header}\n{good('a')}\n")
    assert done.rows == []
    assert all(one.line == 1 for one in done.violations)
    assert [(one.column, one.rule) for one in done.violations] == told
    for one in done.violations:
        assert f"column {one.column!r}" in str(one), "quoted, so that a space is seen"


@pytest.mark.parametrize("text", ["", HEADER, HEADER + "\n", HEADER + "\n\n"])
def test_a_file_without_rows_is_told(table: Table, tmp_path: Path, text: str) -> None:
    done = read_csv(table, tmp_path, text)
    assert [one.rule for one in done.violations] == ["a file has a header and at least one row"]


def test_the_first_line_that_is_not_utf8_is_told(table: Table, tmp_path: Path) -> None:
    text = rows(good("a"), good("b", "Äpfel"), good("c")).encode("latin-1")
    done = read_csv(table, tmp_path, text)
    told = 'a file is UTF-8; if it is cp1252, write in the use case read=Csv(encoding="cp1252")'
    assert done.told == [(3, None, "\\xc4", told)]
    assert done.rows == []


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "utf-8-sig", "cp037"])
@pytest.mark.parametrize("compress", [False, True])
def test_a_file_in_another_encoding_has_the_same_rows(
    table: Table, tmp_path: Path, encoding: str, compress: bool
) -> None:
    text = rows(good("a"), good("b", "Äpfel, süß".replace(",", "")), good("c"))
    expected = read_csv(table, tmp_path, text).rows
    assert len(expected) == 3
    content = text.encode(encoding)
    # A file of several parts, as some tools append them.
    packed = gzip.compress(content[:20]) + gzip.compress(content[20:])
    path = tmp_path / ("trees.csv.gz" if compress else "trees.csv")
    path.write_bytes(packed if compress else content)
    done = Reading(replace(table, read=Csv(encoding=encoding)), path)
    assert (done.told, done.rows) == ([], expected)


def test_utf16_is_told_by_its_first_bytes(table: Table, tmp_path: Path) -> None:
    done = read_csv(table, tmp_path, rows(good("a")).encode("utf-16"))
    told = 'a file is UTF-8; if it is utf-16, write in the use case read=Csv(encoding="utf-16")'
    assert done.told == [(1, None, None, told)]


def test_what_the_encoding_does_not_have_is_told_with_its_line(
    table: Table, tmp_path: Path
) -> None:
    read = replace(table, read=Csv(encoding="cp1252"))
    done = read_csv(read, tmp_path, rows(good("a"), "\x81,").encode("latin-1"))
    assert done.told == [(3, None, "\\x81", "a file is cp1252")]


@pytest.mark.parametrize("kept", [5, 40, -6])
def test_a_compressed_file_that_was_cut_is_told_and_none_of_its_rows_read(
    table: Table, tmp_path: Path, kept: int
) -> None:
    path = tmp_path / "trees.csv.gz"
    path.write_bytes(gzip.compress(rows(*(good(f"{n}") for n in range(50))).encode())[:kept])
    done = Reading(table, path)
    (violation,) = done.violations
    assert violation.rule.startswith("a file is whole gzip")
    assert done.rows == []


def test_a_decimal_comma_is_told_with_the_line_to_write(table: Table, tmp_path: Path) -> None:
    text = rows(good("a")).replace("2.5", '"2,5"')
    (violation,) = read_csv(table, tmp_path, text).violations
    assert violation.rule.endswith('write in the use case read=Csv(decimal=",")')
    (row,) = read_csv(replace(table, read=Csv(decimal=",")), tmp_path, text).rows
    assert 2.5 in row.values()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(rows(good("a"), good("b" * 10_000_000), good("c")), id="a key"),
        pytest.param(rows(good("a"), "b," + "9" * 10_000_000 + ",1,,2020-01-01,"), id="a number"),
        pytest.param(rows(good("a"), good("b", "x" * 20_000_000)), id="more than a chunk"),
        pytest.param("x" * 10_000_000, id="the header"),
    ],
)
def test_a_value_of_ten_million_characters_is_told_in_a_few(
    table: Table, tmp_path: Path, text: str
) -> None:
    done = read_csv(table, tmp_path, text)
    assert len(done.violations) == 1
    assert len(str(done.violations[0])) < 300


def write_parquet(folder: Path, **columns: Any) -> Path:
    import pyarrow as pa
    import pyarrow.parquet

    path = folder / "trees.parquet"
    pa.parquet.write_table(pa.table(columns), path)
    return path


def test_parquet_gives_what_csv_gives(table: Table, tmp_path: Path) -> None:
    csv = read_csv(table, tmp_path, rows(good("a", "x"), "b,-1,10.5,,1999-12-31,"))
    parquet = Reading(
        table,
        write_parquet(
            tmp_path,
            note=["x", None],
            planted=[date(2020, 2, 29), date(1999, 12, 31)],
            grafted=[True, None],
            height=[2.5, 10.5],
            age=[3, -1],
            tree=["a", "b"],
        ),
    )
    assert parquet.rows == csv.rows
    assert parquet.told == csv.told == [(3, "age", "-1", "greater than or equal to(0)")]


def test_parquet_with_other_types_is_taken_where_nothing_is_lost(
    table: Table, tmp_path: Path
) -> None:
    import pyarrow as pa

    path = write_parquet(
        tmp_path,
        tree=pa.array(["a", "b"]).dictionary_encode(),
        age=pa.array([3.0, 4.0], pa.float32()),
        height=pa.array([2, 3], pa.int8()),
        grafted=pa.array(["True", "false"]),
        planted=pa.array(["2020-02-29", "2021-01-01"]),
        note=pa.array([None, None]),
    )
    done = Reading(table, path)
    assert done.violations == []
    assert done.rows[0] == {
        "line": 2,
        "tree": "a",
        "age": 3,
        "height": 2.0,
        "grafted": True,
        "planted": date(2020, 2, 29),
        "note": None,
    }


def test_parquet_with_other_types_is_told_where_something_would_be_lost(
    table: Table, tmp_path: Path
) -> None:
    import pyarrow as pa

    path = write_parquet(
        tmp_path,
        tree=["a", "b"],
        age=[3.0, 3.5],
        height=pa.array([1.0, float("nan")]),
        grafted=[True, False],
        planted=["2020-02-29", "29.02.2020"],
        note=pa.array([["a", "list"], ["another"]]),
    )
    told = Reading(table, path).told
    assert [(line, column) for line, column, _, _ in told] == [
        (2, "note"),
        (3, "age"),
        (3, "height"),
        (3, "note"),
        (3, "planted"),
    ]


def test_a_file_that_is_not_parquet_is_told(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "trees.parquet"
    path.write_text(rows(good("a")))
    done = Reading(table, path)
    assert [(one.line, one.rule[:17]) for one in done.violations] == [(None, "a file is Parquet")]


def test_a_type_that_history_can_not_keep_is_refused(tmp_path: Path) -> None:
    from pandera.pandas import Column, DataFrameSchema

    table = Table("trees", DataFrameSchema({"tree": Column("string"), "age": Column("int8")}))
    (tmp_path / "trees.csv").write_text("tree,age\na,1\n")
    with pytest.raises(InvalidSettings, match=r"'age' of table 'trees' has the type 'int8'"):
        Reading(table, tmp_path / "trees.csv")


def test_the_first_violations_are_shown_the_rest_counted_and_all_listed(tmp_path: Path) -> None:
    report = tmp_path / "reports" / "violations.csv"
    with Violations(report) as violations:
        violations.raise_if_any(tmp_path)  # none yet
        for line in range(2, 52):
            violations.add(Violation("trees.csv", line, "age", "x", "a value is a whole number"))
        with pytest.raises(ContractViolation) as caught:
            violations.raise_if_any(tmp_path)
    message = caught.value.message
    assert message.startswith("50 value(s)")
    assert f"line {2 + SHOWN_VIOLATIONS - 1}, column 'age': 'x'" in message
    assert f"line {2 + SHOWN_VIOLATIONS}," not in message
    assert "50 x trees.csv, column 'age': a value is a whole number" in message
    assert str(report) in message
    assert len(report.read_text().splitlines()) == 51
    assert "`streamflow ingest`" in caught.value.next


def test_the_first_violations_show_each_rule_at_least_once(tmp_path: Path) -> None:
    with Violations(tmp_path / "violations.csv") as violations:
        for line in range(2, 500):
            violations.add(Violation("trees.csv", line, "age", "x", "a value is a whole number"))
        violations.add(Violation("trees.csv", 500, "note", None, "a value is there"))
        violations.add(Violation("roots.csv", 2, "age", "x", "a value is a whole number"))
        with pytest.raises(ContractViolation) as caught:
            violations.raise_if_any(tmp_path)
    shown = caught.value.message.split("  … and")[0].splitlines()[1:]
    assert len(shown) == SHOWN_VIOLATIONS
    assert "line 2, column 'age'" in shown[0]
    assert "trees.csv, line 500, column 'note'" in shown[-2]
    assert "roots.csv, line 2, column 'age'" in shown[-1]


LOOKS_LIKE = [
    pytest.param(
        rows(good("a")).replace(",", ";"),
        "looks as if separated by ';': if it should be, write in the use case Table(\"trees\", "
        '..., read=Csv(separator=";"))',
        id="semicolons",
    ),
    pytest.param(rows(good("a")).replace(",", "\t"), "looks as if separated by '\\t'", id="tabs"),
    pytest.param(
        "Trees of 2024\n\n" + rows(good("a")),
        "here it is another text, and line 3 looks like the header: remove the lines before it",
        id="a title",
    ),
    pytest.param(
        "sep=,\n" + rows(good("a")),
        "here it is 'sep=,', which is for a spreadsheet, and line 2 looks like the header",
        id="a spreadsheet's separator",
    ),
    pytest.param(
        "sep=;\n" + rows(good("a")).replace(",", ";"),
        "looks as if separated by ';'",
        id="a spreadsheet's other separator",
    ),
    pytest.param("\n" + rows(good("a")), "here it is blank", id="a blank first line"),
    pytest.param("\n\n\n", "here it is blank", id="blank lines"),
]


@pytest.mark.parametrize(("text", "told"), LOOKS_LIKE)
def test_a_file_that_is_written_another_way_is_told_in_one_sentence(
    table: Table, tmp_path: Path, text: str, told: str
) -> None:
    done = read_csv(table, tmp_path, text)
    assert done.rows == []
    (violation,) = done.violations
    assert violation.line == 1
    assert told in violation.rule


@pytest.mark.parametrize("separator", [";", "\t", "|", " "])
def test_a_table_may_say_how_its_values_are_separated(
    table: Table, tmp_path: Path, separator: str
) -> None:
    semicolons = replace(table, read=Csv(separator=separator))
    text = rows(good("a", "x"), '"b;;| ",0,1e1,,1999-12-31,')
    written = io.StringIO()
    csv.writer(written, delimiter=separator).writerows(csv.reader(io.StringIO(text)))
    done = read_csv(semicolons, tmp_path, written.getvalue())
    assert done.violations == []
    assert list(done.lines) == ["a", "b;;| "]
    if separator != " ":
        (violation,) = read_csv(semicolons, tmp_path, text).violations
        assert "looks as if separated by ','" in violation.rule


def test_more_columns_are_left_out_where_the_table_says_so(table: Table, tmp_path: Path) -> None:
    ignoring = replace(table, extra_columns="ignore")
    text = f"unnamed,{HEADER},,unnamed\n0,{good('a')},x,y\n1,b,1,2.5,True,1999-12-31,,,\n"
    done = read_csv(ignoring, tmp_path, text)
    assert done.violations == []
    assert list(done.lines) == ["a", "b"]
    assert set(done.rows[0]) == {"line", *HEADER.split(",")}
    columns = {name: [row[name] for row in done.rows] for name in HEADER.split(",")}
    parquet = Reading(ignoring, write_parquet(tmp_path, other=[1, 2], **columns))
    assert parquet.rows == done.rows
    told = read_csv(ignoring, tmp_path, text.replace("note", "Note")).told
    assert told == [(1, "note", None, "the column is there; the file has 'Note' instead")]


def test_a_damaged_parquet_file_is_told_with_column_and_line(table: Table, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    count = 3_000
    content = pa.table(
        {
            "tree": [f"t{number}" for number in range(count)],
            "age": list(range(count)),
            "height": [number / count for number in range(count)],
            "grafted": pa.nulls(count, pa.bool_()),
            "planted": [date(2020, 1, 1)] * count,
            "note": [f"note {number}" for number in range(count)],
        }
    )
    path = tmp_path / "trees.parquet"
    pa.parquet.write_table(content, path, row_group_size=1_000, use_dictionary=False)
    whole = path.read_bytes()
    metadata = pa.parquet.ParquetFile(path).metadata
    page = metadata.row_group(1).column(5).data_page_offset
    path.write_bytes(whole[: page + 40] + b"\xff" * 80 + whole[page + 120 :])
    (violation,) = Reading(table, path).violations
    assert (violation.line, violation.column) == (2, "note")
    assert violation.rule.startswith("a column can be read from this line on (")

    chance = random.Random(5)
    for _ in range(60):
        damaged = bytearray(whole)
        start, length = chance.randrange(len(whole)), chance.choice([1, 4, 80])
        damaged[start : start + length] = chance.randbytes(length)
        path.write_bytes(damaged)
        for one in Reading(table, path).violations:  # none, or what is wrong: never a traceback
            assert len(str(one)) < 500


EXCEL = [
    ["tree", "age", "height", "grafted", "planted", "note"],
    ["a", 3, 2.5, True, date(2020, 2, 29), "old"],
    [7, 0.0, 10, None, "1999-12-31", None],
]


def test_an_excel_sheet_has_the_rows_that_its_csv_has(table: Table, tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "trees.xlsx", {"any name": EXCEL})
    done = Reading(table, path)
    text = rows("a,3,2.5,True,2020-02-29,old", "7,0,10,,1999-12-31,")
    assert done.told == []
    assert done.rows == read_csv(table, tmp_path, text).rows


def test_excel_cells_keep_their_kind_whatever_is_said_of_texts(
    table: Table, tmp_path: Path
) -> None:
    read = Csv(decimal=",", true=("ja",), false=("nein",))
    path = write_workbook(tmp_path / "trees.xlsx", {"s": EXCEL})
    assert Reading(replace(table, read=read), path).rows == Reading(table, path).rows


def test_what_is_wrong_in_an_excel_sheet_is_told_with_its_line(
    table: Table, tmp_path: Path
) -> None:
    time_of_day = ["b", 1, 1, None, datetime(2020, 1, 1, 13, 45, tzinfo=UTC), None]
    fraction = ["c", 1.5, 1, None, date(2020, 1, 1), None]
    path = write_workbook(tmp_path / "trees.xlsx", {"s": [*EXCEL, time_of_day, fraction]})
    told = [(line, column, value) for line, column, value, _ in Reading(table, path).told]
    assert told == [(4, "planted", "2020-01-01 13:45:00"), (5, "age", "1.5")]


def test_the_sheet_is_the_only_one_or_the_one_that_the_table_names(
    table: Table, tmp_path: Path
) -> None:
    path = write_workbook(tmp_path / "forest.xlsx", {"roots": [["x"], [1]], "trees": EXCEL})
    (violation,) = Reading(table, path).violations
    assert 'Table(…, sheet="roots")' in violation.rule
    assert len(Reading(replace(table, sheet="trees"), path).rows) == 2
    (violation,) = Reading(replace(table, sheet="Trees"), path).violations
    assert violation.rule == "the workbook has a sheet 'Trees'; it has 'roots', 'trees'"
    path.write_bytes(path.read_bytes()[:300])
    (violation,) = Reading(table, path).violations
    assert violation.rule.startswith("a file is an Excel workbook")


def test_columns_may_have_other_names_in_the_files(table: Table, tmp_path: Path) -> None:
    other = replace(table, in_file={"age": "Alter (Jahre)", "note": "age"})
    text = rows(good("a", "x")).replace("age", "Alter (Jahre)").replace("note", "age")
    done = read_csv(other, tmp_path, text)
    assert (done.told, done.rows) == ([], read_csv(table, tmp_path, rows(good("a", "x"))).rows)
    (violation,) = read_csv(other, tmp_path, text.replace("Alter (Jahre)", "Alter")).violations[:1]
    assert violation.column == "Alter (Jahre)"
