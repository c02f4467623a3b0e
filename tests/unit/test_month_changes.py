"""A later month that is written otherwise, or has files more: the line to write for it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.raw_months import write_csv

from streamflow.scaffold.key_and_label import propose_key_and_label
from streamflow.scaffold.month_changes import MonthChange, month_changes
from streamflow.scaffold.package import package_files
from streamflow.scaffold.profile import profile
from streamflow.scaffold.proposal import propose
from streamflow.scaffold.raw_tables import raw_tables

Change = Callable[[Path], object]
HEAD = ["member_id", "place", "fee", "since", "left"]


@pytest.fixture
def changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """The changes of a folder, held against the package of the folder before."""
    monkeypatch.syspath_prepend(tmp_path)

    def of(january: Path, february: Path) -> list[MonthChange]:
        profiles = [profile(one) for one in raw_tables(january)]
        proposal = propose("club", profiles, *propose_key_and_label(profiles), 0)
        (tmp_path / "club").mkdir()
        for file, text in package_files(proposal, "january", "2024-01-31").items():
            (tmp_path / "club" / file).write_text(text, encoding="utf-8")
        tables = importlib.import_module("club").use_case.tables()
        left_out = getattr(importlib.import_module("club.tables"), "LEFT_OUT", ())
        later = [profile(one) for one in raw_tables(february)]
        return list(month_changes(tables, later, left_out))

    yield of
    for module in [one for one in sys.modules if one.split(".")[0] == "club"]:
        del sys.modules[module]


def month(folder: Path, change: Callable[[list[Any]], list[Any]] = lambda row: row) -> Path:
    folder.mkdir()
    rows = [[f"m{n}", "Köln" if n % 2 else "Ulm", 9.5 + n % 3, "2024-01-05"] for n in range(60)]
    rows = [[*row, "yes" if n % 3 else "no"] for n, row in enumerate(rows)]
    write_csv(folder / "members.csv", [HEAD, *map(change, rows)])
    return folder


def german(row: list[Any]) -> list[Any]:
    year, of_year, day = row[3].split("-")
    return [row[0], row[1], str(row[2]).replace(".", ","), f"{day}.{of_year}.{year}", row[4]]


def test_the_same_form_has_no_change(tmp_path: Path, changes: Callable[..., Any]) -> None:
    assert changes(month(tmp_path / "january"), month(tmp_path / "february")) == []


@pytest.mark.parametrize(
    ("rewrite", "said", "line"),
    [
        (lambda text: text.encode("cp1252"), "the file is in cp1252", 'encoding="cp1252"'),
        (lambda text: text.encode("utf-16"), "the file is in utf-16", 'encoding="utf-16"'),
        (
            lambda text: text.replace(",", ";").encode(),
            "values are separated by ';'",
            'separator=";"',
        ),
        (
            lambda text: f"Members\n\n{text}".encode(),
            "2 lines are above the header",
            "skip_lines=2",
        ),
        (
            lambda text: f"{text}Total,,600,,\n".encode(),
            "a row of 'Total' sums up the others",
            'total_rows=("Total",)',
        ),
    ],
)
def test_a_file_that_is_written_otherwise_is_told_once_with_its_line(
    rewrite: Callable[[str], bytes],
    said: str,
    line: str,
    tmp_path: Path,
    changes: Callable[..., Any],
) -> None:
    february = month(tmp_path / "february")
    file = february / "members.csv"
    file.write_bytes(rewrite(file.read_text(encoding="utf-8").replace("\r\n", "\n")))
    (found,) = changes(month(tmp_path / "january"), february)
    assert (found.table, found.what) == ("members", said)
    assert found.line.startswith("read=Csv(")
    assert line in found.line
    assert 'true=("yes",)' in found.line  # as the contract has it


def test_a_file_of_plain_letters_is_the_same_in_each_encoding(
    tmp_path: Path, changes: Callable[..., Any]
) -> None:
    january = month(tmp_path / "january")
    file = january / "members.csv"
    file.write_bytes(file.read_text(encoding="utf-8").encode("cp1252"))
    february = month(tmp_path / "february", lambda row: [row[0], "Ulm", *row[2:]])
    assert changes(january, february) == []


def test_numbers_and_dates_that_are_written_otherwise_are_told_with_how_they_are_read(
    tmp_path: Path, changes: Callable[..., Any]
) -> None:
    found = changes(month(tmp_path / "january"), month(tmp_path / "february", german))
    assert [one.column for one in found] == ["fee", "since"]
    assert found[0].what == "line 2: '9,5' is written otherwise than the contract has Float64"
    for one in found:
        assert 'decimal=","' in one.line
        assert 'date="DD.MM.YYYY"' in one.line


def test_a_file_that_was_left_out_is_not_told_again_and_a_new_one_is(
    tmp_path: Path, changes: Callable[..., Any]
) -> None:
    january, february = month(tmp_path / "january"), month(tmp_path / "february")
    for folder in (january, february):
        write_csv(folder / "Notes.csv", [["member_id", "note"], ["m1", "a"], ["m1", "b"]])
    write_csv(february / "More notes.csv", [["member_id", "note"], ["m1", "a"], ["m1", "b"]])
    (found,) = changes(january, february)
    assert (found.table, found.what) == ("more_notes", "a new file")
    assert found.line.endswith('or "More notes" in LEFT_OUT')
