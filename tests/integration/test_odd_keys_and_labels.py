"""Keys and labels of files as strangers have them: each is loaded as what it means, or refused with
its file, line, column, value, rule and what to write."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_case
from tests.statements import execute

from streamflow.errors import ContractViolation
from streamflow.history.ingest import IngestedMonth, ingest
from streamflow.platform import Platform
from streamflow.use_case import Table, UseCase
from streamflow.use_case.module import use_case_findings

JANUARY = date(2024, 1, 31)
NOW = datetime(2024, 3, 15, 12, tzinfo=UTC)
Rows = dict[str, list[list[Any]]]


def rows_of(
    ids: Sequence[str] = ("m1", "m2", "m3"),
    *,
    read: Sequence[str] | None = None,
    failing: Sequence[str] | None = None,
    answer: Any = True,
) -> Rows:
    """A month's rows: those of `read` have readings, those of `failing` an answer."""
    failures = [[one, False] for one in (ids if failing is None else failing)]
    failures[-1][1] = answer
    return {
        "machines": [["machine_id", "kind", "age_weeks"], *([one, "mill", 3] for one in ids)],
        "readings": [
            ["machine_id", "temperature_c", "alarms", "guard_open"],
            *([one, 50.5, 0, True] for one in (ids if read is None else read)),
        ],
        "failures": [["machine_id", "fails"], *failures],
    }


def with_table(name: str, change: Callable[[Table], Table]) -> UseCase:
    """The workshop with one table changed."""

    def tables() -> tuple[Table, ...]:
        there = tiny_case.use_case.tables()
        return tuple(change(one) if one.name == name else one for one in there)

    return replace(tiny_case.use_case, tables=tables)


def nullable_label(table: Table) -> Table:
    return replace(table, contract=table.contract.update_column("fails", nullable=True))


def load(ready: Platform, folder: Path, rows: Rows, use_case: UseCase) -> IngestedMonth:
    folder.mkdir()
    for name, lines in rows.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows(lines)
    reports = folder.parent / "reports"
    return ingest(ready.database, use_case, folder, JANUARY, NOW, NOW, "ada", reports)


ID = "breaks the rule: an id is 1 to 64 characters, none of them hidden and not all of them spaces"
ALIKE = 'breaks the rule: no two ids look the same, in the file or with history; or the use case says similar_ids="allow"'  # noqa: E501
REFUSED: dict[str, tuple[Rows, list[str]]] = {
    "three spaces": (
        rows_of(["m1", "   "]),
        [f"machines.csv, line 3, column 'machine_id': '[U+0020][U+0020][U+0020]' {ID}"],
    ),
    "a right-to-left mark": (
        rows_of(["m1", "m\u202e2"]),
        [f"machines.csv, line 3, column 'machine_id': 'm[U+202E]2' {ID}"],
    ),
    "a space at the end": (
        rows_of(["abc", "abc "]),
        ["machines.csv, line 3, column 'machine_id': 'abc[U+0020] and abc'", ALIKE],
    ),
    "two forms of a letter in one file": (
        rows_of(["René", "Rene\u0301"]),
        ["machines.csv, line 3, column 'machine_id': 'Rene[U+0301] and Ren[U+00E9]'", ALIKE],
    ),
    "another form of a letter in another file": (
        rows_of(["René"], failing=["Rene\u0301"]),
        [
            "failures.csv, line 2, column 'machine_id': 'Rene[U+0301] (machines has Ren[U+00E9])'",
            "breaks the rule: a key is in machines",
        ],
    ),
    "a key that stands there twice": (
        rows_of(["m1", "m1"]),
        ["machines.csv, line 3, column 'machine_id': 'm1' breaks the rule: a key is there once"],
    ),
    "a label without an answer": (
        rows_of(answer=""),
        ["failures.csv, line 4, column 'fails'", "breaks the rule: a value is there"],
    ),
    "a label that is a number": (
        rows_of(answer="360"),
        ["failures.csv, line 4, column 'fails': '360' breaks the rule: a value is true or false"],
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_safe_meaning_is_refused_with_its_place_and_its_rule(
    what: str, ready: Platform, tmp_path: Path
) -> None:
    rows, parts = REFUSED[what]
    with pytest.raises(ContractViolation) as refused:
        load(ready, tmp_path / "month", rows, tiny_case.use_case)
    for part in parts:
        assert part in refused.value.message
    there = execute(
        ready.database, "SELECT to_regnamespace(%s) AS it", [tiny_case.use_case.name]
    ).fetchone()
    assert there == {"it": None}


def test_a_null_label_is_not_known_where_the_contract_allows_it(
    ready: Platform, tmp_path: Path
) -> None:
    use_case = with_table("failures", nullable_label)
    load(ready, tmp_path / "month", rows_of(answer=""), use_case)
    query = f"SELECT fails FROM {use_case.name}.failures_history ORDER BY machine_id"
    found = [row["fails"] for row in execute(ready.database, query)]
    assert found == [False, False, None]


def test_an_entity_table_may_have_its_key_alone(ready: Platform, tmp_path: Path) -> None:
    use_case = with_table(
        "machines",
        lambda table: replace(table, contract=table.contract.remove_columns(["kind", "age_weeks"])),
    )
    rows = rows_of()
    rows["machines"] = [row[:1] for row in rows["machines"]]
    assert load(ready, tmp_path / "month", rows, use_case).tables["machines"].added == 3


def test_an_entity_without_a_row_in_a_table_is_counted(ready: Platform, tmp_path: Path) -> None:
    done = load(ready, tmp_path / "month", rows_of(read=["m1", "m2"]), tiny_case.use_case)
    assert (done.tables["readings"].rows, done.tables["readings"].without_row) == (2, 1)


def test_a_key_of_two_columns_is_refused_when_the_use_case_is_loaded() -> None:
    both: Any = ("machine_id", "kind")
    findings = use_case_findings(replace(tiny_case.use_case, join_key=both))
    assert any("join_key" in str(one) for one in findings), findings
