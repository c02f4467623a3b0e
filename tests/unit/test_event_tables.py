"""Tables with several rows of an entity: features from events, or left out with the reason."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.raw_months import write_csv

from streamflow.cli.use_case import init
from streamflow.history.contract_findings import contract_findings
from streamflow.scaffold.contract_code import table_code
from streamflow.scaffold.draft import Proposal
from streamflow.scaffold.key_and_label import propose_key_and_label
from streamflow.scaffold.month_changes import month_changes
from streamflow.scaffold.package import package_files
from streamflow.scaffold.profile import profile
from streamflow.scaffold.proposal import propose
from streamflow.scaffold.raw_tables import raw_tables
from streamflow.scaffold.several_months import SeveralMonths
from streamflow.scaffold.written import Told
from streamflow.use_case import Count, DaysSince, Distinct, Generation, Sum, UseCase
from streamflow.use_case.module import use_case_findings

JANUARY, MARCH = date(2024, 1, 31), date(2024, 3, 31)


def proposed(
    folder: Path,
    visits: Sequence[Sequence[Any]],
    told: Told | None = None,
    until: date = JANUARY,
) -> Proposal:
    """The proposal for members, and their visits as these rows."""
    folder.mkdir()
    members = [[f"m{n}", 20 + n % 40, n % 3 == 0] for n in range(90)]
    write_csv(folder / "members.csv", [["member_id", "age", "left"], *members])
    write_csv(folder / "visits.csv", visits)
    profiles = [profile(one, told or Told()) for one in raw_tables(folder)]
    return propose("gym", profiles, *propose_key_and_label(profiles), 0, (), until)


def visits(*moments: str) -> list[list[Any]]:
    """Each member has one, and the first has one more."""
    head = [["visit_id", "member_id", "at", "minutes", "kind", "A note"]]
    return head + [
        [f"v{n}", f"m{n % 90}", moments[n % len(moments)], n % 50, "ab"[n % 2], f"{n} times {n}"]
        for n in range(91)
    ]


def test_counts_sums_different_values_and_days_are_proposed(tmp_path: Path) -> None:
    found = proposed(tmp_path / "month", visits("2024-01-02T10:00:00Z", "2024-01-30T11:30:00Z"))
    (table,) = found.of_events
    assert table.events is not None
    assert table.events.time == "at"
    assert not table.events.without_offset
    assert table.events.aggregations == {
        "visits_30d": Count(30),
        "visits_minutes_90d": Sum("minutes", 90),
        "visits_different_kind_90d": Distinct("kind", 90),
        "days_since_visits": DaysSince(),
    }
    assert found.newest_event == date(2024, 1, 30)
    features = [(one.name, one.kind, one.nullable) for one in found.features[1:]]
    assert features == [
        ("visits_30d", "Int64", False),
        ("visits_minutes_90d", "Float64", False),
        ("visits_different_kind_90d", "Int64", False),
        ("days_since_visits", "Int64", True),
    ]
    assert any("visits: several rows per member_id" in note for note in found.notes)


@pytest.mark.parametrize(
    ("moments", "order"),
    [
        (["2024-01-02", "2024-01-30"], "YYYY-MM-DD"),
        (["02.01.2024", "30.01.2024"], "DD.MM.YYYY"),
        (["02/01/2024 10:15", "30/01/2024 23:59:59"], "DD/MM/YYYY"),
        (["2024-01-02 10:15", "2024-01-30T11:30:00"], "YYYY-MM-DD"),
    ],
)
def test_a_moment_may_be_written_in_any_way(tmp_path: Path, moments: list[str], order: str) -> None:
    (table,) = proposed(tmp_path / "month", visits(*moments)).of_events
    assert table.events is not None
    assert table.events.without_offset
    assert table.events.newest == date(2024, 1, 30)
    assert table.profile.raw.read_of("at").date == order


def test_a_day_that_may_be_a_month_is_said(tmp_path: Path) -> None:
    rows = visits("02/01/2024 10:15", "03/01/2024 10:15")
    found = proposed(tmp_path / "month", rows)
    assert found.of_events == ()
    (note,) = [one for one in found.notes if one.startswith("visits: left out")]
    assert "visits.csv, line 2, column 'at': '02/01/2024 10:15' may be written as" in note
    assert '--date DD/MM/YYYY, which writes read=Csv(date="DD/MM/YYYY")' in note
    assert '--date MM/DD/YYYY, which writes read=Csv(date="MM/DD/YYYY")' in note
    for order, newest in (("DD/MM/YYYY", date(2024, 1, 3)), ("MM/DD/YYYY", date(2024, 3, 1))):
        (tmp_path / order[:2]).mkdir()
        told = proposed(tmp_path / order[:2] / "month", rows, Told(date=order), MARCH)
        (table,) = told.of_events
        assert table.events is not None
        assert table.events.newest == newest
        assert f'read=Csv(date="{order}"),' in table_code(told, table)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (visits("then"), "no column says in each row when it was"),
        (visits("2024-01-02", ""), "no column says in each row when it was"),
        (visits("2024-01-02", "2024-02-01"), "it has events of 2024-02-01, which is after 2024-01"),
        ([*visits("2024-01-02"), ["v", "m", "a", "b"]], "1 of its rows can't be read"),
    ],
)
def test_a_table_that_is_none_of_events_is_left_out(tmp_path: Path, rows: Any, why: str) -> None:
    found = proposed(tmp_path / "month", rows)
    assert found.of_events == ()
    (note,) = [one for one in found.notes if one.startswith("visits: left out, it has several")]
    assert why in note


def test_the_package_has_the_events_and_its_own_month_and_generator_fit_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = proposed(tmp_path / "month", visits("02.01.2024 10:15", "30.01.2024 11:00"))
    (tmp_path / "gym").mkdir()
    for file, text in package_files(found, "month", "2024-01-31").items():
        (tmp_path / "gym" / file).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        use_case: UseCase = importlib.import_module("gym").use_case
        findings, tables = contract_findings(use_case)
        assert (use_case_findings(use_case), findings) == ([], [])
        assert use_case.generate is not None
        use_case.generate(Generation(tmp_path / "made", users=30, months=2, seed=1))
    finally:
        for module in [one for one in sys.modules if one.split(".")[0] == "gym"]:
            del sys.modules[module]
    for folder in (tmp_path / "month", tmp_path / "made" / "month_001"):
        profiles = [profile(one) for one in raw_tables(folder)]
        assert list(month_changes(tables, profiles)) == [], folder
    made = (tmp_path / "made" / "month_001" / "visits.csv").read_text().splitlines()
    assert len(made) > 20
    days = {datetime.fromisoformat(one.split(",")[2]).month for one in made[1:]}
    assert days == {2}


def test_a_history_outside_of_postgresql_has_no_events() -> None:
    by_names = SeveralMonths((JANUARY,), "", pattern="x")
    assert init._events_until(JANUARY, None) == JANUARY
    assert init._events_until(None, by_names) == JANUARY


@pytest.mark.parametrize(
    ("newest", "as_of"),
    [(date(2024, 2, 3), date(2024, 2, 29)), (date(2023, 12, 31), date(2023, 12, 31))],
)
def test_the_as_of_is_the_end_of_the_newest_event_s_month(newest: date, as_of: date) -> None:
    assert init._newest_month_end(30, newest) == as_of


def test_the_as_of_is_today_if_the_newest_event_s_month_is_not_over() -> None:
    today = datetime.now(UTC).date()
    assert init._newest_month_end(0, today) == today
