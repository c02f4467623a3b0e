"""The keys of a month's files: ids by the one rule, and no two that look the same."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Rollback
from tests import tiny_case
from tests.ids import IDS, NO_IDS, texts

from streamflow.entity_id import is_id
from streamflow.errors import ContractViolation
from streamflow.history.history_table import create_history_table
from streamflow.history.ingest import ingest
from streamflow.history.staging import stage
from streamflow.history.violations import Violation
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.use_case import UseCase

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
NOW = datetime(2024, 3, 15, 12, tzinfo=UTC)
ALLOWING = replace(tiny_case.use_case, similar_ids="allow")
RULE = "an id is 1 to 64 characters, none of them hidden and not all of them spaces"


@pytest.fixture
def database(ready: Platform) -> Database:
    return ready.database


def write_month(folder: Path, ids: list[str], labelled: list[str] | None = None) -> Path:
    """A month of these machines; the file of failures has those of `labelled`."""
    folder.mkdir(exist_ok=True)
    rows = {
        "machines": [["machine_id", "kind", "age_weeks"], *([one, "mill", 3] for one in ids)],
        "readings": [["machine_id", "temperature_c", "alarms", "guard_open"]]
        + [[one, 50.5, 0, True] for one in ids],
        "failures": [["machine_id", "fails"]]
        + [[one, False] for one in (ids if labelled is None else labelled)],
    }
    for table, lines in rows.items():
        with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows(lines)
    return folder


def load(
    database: Database, folder: Path, as_of: date = JANUARY, use_case: UseCase = tiny_case.use_case
) -> None:
    # The months of a test may have the same rows.
    reports = folder.parent / "reports"
    ingest(database, use_case, folder, as_of, NOW, NOW, "ada", reports, really=True)


@contextmanager
def refused(*said: str) -> Iterator[None]:
    with pytest.raises(ContractViolation) as caught:
        yield
    for part in said:
        assert part in caught.value.message
    assert len(caught.value.message) < 5000


def test_what_is_no_id_is_told_at_ingest_with_its_code_points(
    database: Database, tmp_path: Path
) -> None:
    bad = ["   ", "a\tb", "a\u200b", "x\u202ey", "\u00a0", "a\x07", "y" * 65]
    with refused(
        "machines.csv, line 3, column 'machine_id': '[U+0020][U+0020][U+0020]' breaks the rule: ",
        RULE,
        "line 4, column 'machine_id': 'a[U+0009]b'",
        "line 5, column 'machine_id': 'a[U+200B]'",
        "line 6, column 'machine_id': 'x[U+202E]y'",
        f"line 9, column 'machine_id': '{'y' * 65}'",
    ):
        load(database, write_month(tmp_path / "month", ["good", *bad]))


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(texts, unique=True, min_size=30, max_size=60))
def test_any_text_has_the_verdict_that_the_api_gives(
    database: Database, tmp_path: Path, ids: list[str]
) -> None:
    ids = list(dict.fromkeys(["good", *ids, *IDS, *NO_IDS]))
    file = write_month(tmp_path / "month", ids) / "machines.csv"
    table = ALLOWING.tables()[0]
    violations: list[Violation] = []
    with database.transaction():
        create_history_table(database, ALLOWING, table)
        stage(database, ALLOWING, table, file, JANUARY, NOW, violations.append)
        raise Rollback
    told, line = {one.line for one in violations}, 2
    for one in ids:
        # An empty text is a missing value, which has a violation of its own.
        assert (line not in told) is is_id(one), repr(one)
        line += 1 + one.count("\n")


TWINS = [
    ("abc", "abc ", "abc[U+0020] and abc"),
    ("abc", " abc", "[U+0020]abc and abc"),
    ("a b", "a  b", "a[U+0020][U+0020]b and a[U+0020]b"),
    ("René", "Rene\u0301", "Rene[U+0301] and Ren[U+00E9]"),
    ("a b", "a\u3000b", "a[U+3000]b and a[U+0020]b"),
    ("葛", "葛\U000e0100", "[U+845B][U+E0100] and [U+845B]"),
]


@pytest.mark.parametrize(("first", "second", "told"), TWINS, ids=lambda text: ascii(text))
def test_two_ids_that_look_the_same_are_told_in_a_file_and_with_history(
    database: Database, tmp_path: Path, first: str, second: str, told: str
) -> None:
    backwards = " and ".join(reversed(told.split(" and ")))
    both = write_month(tmp_path / "both", ["other", first, second])
    with refused(told, "no two ids look the same", 'similar_ids="allow"'):
        load(database, both)
    load(database, write_month(tmp_path / "january", ["other", first]))
    with refused(f"machines.csv, line 2, column 'machine_id': '{told}'"):
        load(database, write_month(tmp_path / "february", [second]), FEBRUARY)
    load(database, both, FEBRUARY, ALLOWING)
    # What is in history stays, and may come again; each is told as long as the use case doesn't
    # allow it.
    with refused(told, backwards):
        load(database, shutil.copytree(both, tmp_path / "again"), FEBRUARY)
    load(database, both, JANUARY, ALLOWING)


@pytest.mark.parametrize(("first", "second", "told"), TWINS, ids=lambda text: ascii(text))
def test_the_other_way_round_they_are_told_too(
    database: Database, tmp_path: Path, first: str, second: str, told: str
) -> None:
    backwards = " and ".join(reversed(told.split(" and ")))
    load(database, write_month(tmp_path / "january", [second]))
    with refused(f"machines.csv, line 2, column 'machine_id': '{backwards}'"):
        load(database, write_month(tmp_path / "february", [first]), FEBRUARY)
    load(database, write_month(tmp_path / "same", [second]), FEBRUARY)


def test_ids_that_look_different_are_different(database: Database, tmp_path: Path) -> None:
    ids = ["abc", "ABC", "a b", "ab", "é", "e", "\uff11", "1"]
    load(database, write_month(tmp_path / "month", ids))
    load(database, write_month(tmp_path / "month", ids), FEBRUARY)


def test_a_key_that_looks_like_a_known_one_is_told_with_both(
    database: Database, tmp_path: Path
) -> None:
    month = write_month(tmp_path / "month", ["René", "abc"], ["Rene\u0301", "abc ", "nobody"])
    with refused(
        "failures.csv, line 2, column 'machine_id': 'Rene[U+0301] (machines has Ren[U+00E9])'",
        "failures.csv, line 3, column 'machine_id': 'abc[U+0020] (machines has abc)'",
        "failures.csv, line 4, column 'machine_id': 'nobody' breaks the rule: a key is in machines",
    ):
        load(database, month)
