"""Files with lines above the header and below the rows, units, and columns written in a way of
their own: read as the use case says, or told with the line to write."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.excel import write_workbook

from streamflow.errors import InvalidSettings
from streamflow.history.column_findings import column_findings
from streamflow.history.validation import read_checked
from streamflow.history.violations import Violation
from streamflow.scaffold.profile import profile
from streamflow.scaffold.raw_tables import raw_tables
from streamflow.use_case import Csv, Table

ROWS: list[list[Any]] = [["shop", "sales", "share"], ["a", 10, 0.5], ["b", 20, 1.5]]


def table(read: Csv, **said: Any) -> Table:
    from pandera.pandas import Column, DataFrameSchema

    columns = {"shop": Column("string"), "sales": Column("Int64"), "share": Column("Float64")}
    return Table("shops", DataFrameSchema(columns), read=read, **said)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def read(table: Table, path: Path) -> tuple[list[tuple[Any, ...]], list[Violation]]:
    told: list[Violation] = []
    batches = read_checked(table, path, told.append)
    rows = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
    return rows, told


def test_lines_above_the_header_are_skipped_and_lines_stay_those_of_the_file(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path / "shops.csv",
        *("Report of January", "", "shop,sales,share", "a,10,0.5", "b,x,1.5", "c,1"),
    )
    rows, told = read(table(Csv(skip_lines=2)), path)
    assert rows[0] == (4, "a", 10, 0.5)
    assert [(one.line, one.column) for one in told] == [(5, "sales"), (6, None)]
    _, told = read(table(Csv()), path)
    assert (told[0].line, told[0].value) == (1, "Report of January")
    assert 'Table("shops", ..., read=Csv(skip_lines=2))' in told[0].rule
    # A month without them is refused, not read without its first rows.
    bare = write(tmp_path / "bare.csv", *(",".join(map(str, row)) for row in ROWS))
    _, told = read(table(Csv(skip_lines=2)), bare)
    assert (told[0].line, told[0].value) == (3, "b,20,1.5")
    assert "line 1 looks like the header" in told[0].rule


def test_rows_of_totals_arent_read_wherever_they_stand_and_however_wide_they_are(
    tmp_path: Path,
) -> None:
    lines = [",".join(map(str, row)) for row in ROWS]
    path = write(tmp_path / "shops.csv", *lines, "Total,30,2.0", "Sum,30", "Totals Ltd,1,1")
    rows, told = read(table(Csv(total_rows=("Total", "Sum"))), path)
    assert [row[:2] for row in rows] == [(2, "a"), (3, "b"), (6, "Totals Ltd")]
    assert told == []
    # Also if the contract doesn't have the first column.
    other = table(Csv(total_rows=("Total", "Sum")), extra_columns="ignore")
    other = replace(other, contract=other.contract.remove_columns(["shop"]))
    assert [row[0] for row in read(other, path)[0]] == [2, 3, 6]


def test_sheets_have_titles_and_totals_too(tmp_path: Path) -> None:
    sheet = [["Report"], [None], *ROWS, ["Total", 30, 2.0]]
    path = write_workbook(tmp_path / "shops.xlsx", {"s": sheet})
    rows, told = read(table(Csv(skip_lines=2, total_rows=("Total",))), path)
    assert (rows, told) == ([(4, "a", 10, 0.5), (5, "b", 20, 1.5)], [])


@pytest.mark.parametrize("text", ["50 %", "50%", "50", "% 50", "+50 %"])
def test_a_unit_may_stand_before_or_after_a_number(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "shops.csv", "shop,sales,share", f"a,1,{text}")
    rows, told = read(table(Csv(), read_columns={"share": Csv(units=("%",))}), path)
    assert (rows, told) == ([(2, "a", 1, 50.0)], [])
    (refused,) = read(table(Csv()), path)[1] if text != "50" else [None]
    assert refused is None or (refused.column, refused.value) == ("share", text)


def test_a_column_may_be_written_otherwise_than_its_table(tmp_path: Path) -> None:
    path = write(tmp_path / "shops.csv", "shop;Sales;share", "a;1.000;€ -1,5", "b;n/a;-€2")
    own = {"sales": Csv(thousands=".", decimal=",", null=("n/a",))}
    own["share"] = Csv(decimal=",", units=("€",))
    shops = table(Csv(separator=";"), in_file={"sales": "Sales"}, read_columns=own)
    shops.contract.columns["sales"].nullable = True
    rows, told = read(shops, path)
    assert (rows, told) == ([(2, "a", 1000, -1.5), (3, "b", None, -2.0)], [])


def test_a_date_of_a_sheet_is_one_however_the_table_writes_its_dates(tmp_path: Path) -> None:
    from datetime import date

    from pandera.pandas import Column, DataFrameSchema

    path = write_workbook(tmp_path / "t.xlsx", {"s": [["day"], [date(2024, 1, 31)]]})
    own = {"day": Csv(date="DD.MM.YYYY")}
    told = Table("t", DataFrameSchema({"day": Column("date")}), read_columns=own)
    assert read(told, path) == ([(2, date(2024, 1, 31))], [])


def test_what_is_wrong_with_these_is_said() -> None:
    with pytest.raises(InvalidSettings, match="skips -1 lines"):
        Csv(skip_lines=-1)
    with pytest.raises(InvalidSettings, match="the unit '5'"):
        Csv(units=("5",))
    with pytest.raises(InvalidSettings, match="one text, 'Total', as its total_rows"):
        Csv(total_rows="Total")  # type: ignore[arg-type]
    (finding,) = column_findings(table(Csv(), read_columns={"sale": Csv()}), "shop")
    assert finding.instead == 'read_columns={"sales": Csv(…)}'
    (finding,) = column_findings(table(Csv(), read_columns={"sales": ";"}), "shop")
    assert "isn't a Csv" in finding.what


def raw(folder: Path, *lines: str, name: str = "shops.csv") -> Any:
    (found,) = raw_tables(write(folder / name, *lines).parent)
    return found


def test_titles_and_totals_are_found_in_a_strangers_file(tmp_path: Path) -> None:
    found = raw(
        tmp_path,
        *("Sales report;;", "as of 31.01.2024;;", ";;", "shop;sales;share"),
        *("a;1,5;2,5", "b;2,5;3,5", "c;2,5;3,5", ";;", "Summe;6,5;9,5"),
    )
    assert found.read == Csv(separator=";", skip_lines=3, total_rows=("Summe",))
    assert found.rows["shop"].to_pylist() == ["a", "b", "c"]
    assert found.broken == ()


@pytest.mark.parametrize(
    ("lines", "skipped"),
    [
        (["sep=;", "shop;sales", "a;1"], 1),
        (["shop;sales", "a;1"], 0),
        (["2023;2024", "1;2"], 0),
        (["Report", "shop;sales;share", "a;1,5;2,5", "b;1,5;2,5"], 1),
        (["sales;share", "1,5;2,5", "2,5;3,5"], 0),
    ],
)
def test_the_header_is_the_first_line_that_names_each_column(
    tmp_path: Path, lines: list[str], skipped: int
) -> None:
    found = raw(tmp_path, *lines)
    assert (found.read.separator, found.read.skip_lines) == (";", skipped)


def test_a_sheets_title_is_found(tmp_path: Path) -> None:
    write_workbook(tmp_path / "shops.xlsx", {"s": [["Report of January"], [None], *ROWS]})
    (found,) = raw_tables(tmp_path)
    assert (found.columns, found.read.skip_lines) == (["shop", "sales", "share"], 2)


def test_columns_that_cant_be_told_apart_are_left_out(tmp_path: Path) -> None:
    with (tmp_path / "shops.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["", "shop", "n", "n", "sales"], [0, "a", 1, 2, 3]])
    (found,) = raw_tables(tmp_path)
    assert (found.columns, found.left_out) == (["shop", "sales"], ("", "n"))


def test_each_column_is_read_as_it_is_written(tmp_path: Path) -> None:
    found = profile(
        raw(
            tmp_path,
            "shop,discount,price,opened,closed,vat",
            *('a,5%,"€ 1.200,50",31.01.2024,2024-01-31,1.5', "b,7.5%,€ 3,01.02.2024,2024-02-01,2"),
            "c,0,€ 4,01.02.2024,2024-02-01,2",
        )
    )
    assert {one.name: one.kind for one in found.columns} == {
        "shop": "string",
        "discount": "Float64",
        "price": "Float64",
        "opened": "date",
        "closed": "date",
        "vat": "Float64",
    }
    assert found.raw.read == Csv()
    assert found.raw.read_columns == {
        "discount": Csv(units=("%",)),
        "price": Csv(units=("€",), decimal=",", thousands="."),
        "opened": Csv(date="DD.MM.YYYY"),
    }
