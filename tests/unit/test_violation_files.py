"""The lists of offending lines that the console shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamflow.console.reading.violation_files import offending_lines, violation_files

NAME = "violations-2024-01-31-20240201T101112345678.csv"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / NAME).write_text(
        'file,line,column,value,rule\nusers.csv,3,user_id,"<script>",unique\nusers.csv,,,,empty\n'
    )
    (reports / "churn-2024-01-31.html").write_text("no list")
    (tmp_path / "secret.csv").write_text("file,line,column,value,rule\na,b,c,d,e\n")
    return tmp_path


def test_the_lines_of_a_list_are_read(home: Path) -> None:
    (found,) = violation_files(home)
    assert (found.name, found.as_of, f"{found.made_at:%H:%M:%S}") == (
        *(NAME, "2024-01-31", "10:11:12"),
    )
    lines = offending_lines(home, NAME)
    assert [(one.line, one.value, one.rule) for one in lines] == [
        *(("3", "<script>", "unique"), ("", "", "empty")),
    ]


@pytest.mark.parametrize(
    "name", ["../secret.csv", "churn-2024-01-31.html", "", "/etc/passwd", f"../reports/{NAME}"]
)
def test_no_other_file_is_read(home: Path, name: str) -> None:
    assert offending_lines(home, name) == []


def test_a_home_without_reports_has_none(tmp_path: Path) -> None:
    assert violation_files(tmp_path) == []
