"""What is wrong with a month's files is named in the first lines of the report that `run-month`
writes of it; a stable month raises no alarm, and one that drifts names what has moved.

`STREAMFLOW_LONG_TESTS` runs twelve months of twenty seeds.
"""

from __future__ import annotations

import html
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from scipy import stats
from tests.conftest import OwnDatabase
from tests.faulty_months import (
    FAULTS,
    Change,
    platform_of_a_copy,
    renamed,
    unchanged,
    usage_of,
    without_labels,
    write_changed,
)
from tests.month_files import month_end

from streamflow.bootstrap import platform
from streamflow.errors import ContractViolation
from streamflow.history.staged.another_month import AnotherMonth
from streamflow.pipeline.apply import apply
from streamflow.pipeline.month.run_month import Month, run_month
from streamflow.platform import Platform
from streamflow.settings import Settings, load_settings
from streamflow.use_case import Generation

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_plots")]

LONG = bool(os.environ.get("STREAMFLOW_LONG_TESTS"))
USERS, SEED = 1_500, 11
FIRST_LINES = 3
FEATURE_RULES = {"missing", "categories", "unit", "scale", "range", "shift"}
DRIFTING = {
    *("watch_hours_30d", "avg_session_mins_7d", "skips_7d", "rebuffer_events_7d"),
    *("monthly_fee", "unique_devices_30d"),
}
NewSettings = Callable[[str], Settings]


def run(ready: Platform, months: Path, number: int, days_later: int = 3) -> Month:
    """The month run so many days after its end."""
    as_of = month_end(number)
    now = datetime(as_of.year, as_of.month, as_of.day, 8, tzinfo=UTC) + timedelta(days=days_later)
    return run_month(ready, months / f"month_{number:03}", as_of, "if-better", "test", now)


def alarms_told(month: Month) -> list[str]:
    """The lines of the report's list of alarms, each `severity, rule: sentence`, in their order.

    Nothing but the page's title and how many there are comes before it.
    """
    assert month.report is not None
    page = month.report.read_text()
    if '<ul class="alarms">' not in page:
        return []
    header = page[page.index("<body>") : page.index('<ul class="alarms">')]
    assert len(re.sub(r"<[^>]+>", "", header).split("\n\n")) <= 3
    listed = page[page.index('<ul class="alarms">') : page.index("</ul>", page.index("<body>"))]
    lines = re.findall(r"<li class=.*?</li>", listed, re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]+>", "", line)) for line in lines]


@pytest.fixture(scope="module")
def new_settings(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> NewSettings:
    def make(name: str) -> Settings:
        home = tmp_path_factory.mktemp(name)
        url = new_database(prepared_database)
        return load_settings(home=home, database_url=url, use_case="tests.monthly_churn")

    return make


def generated(ready: Platform, users: int, months: int, seed: int, drift: float = 0.0) -> Path:
    folder = ready.settings.home / "months"
    assert ready.use_case.generate is not None
    ready.use_case.generate(Generation(folder, users=users, months=months, seed=seed, drift=drift))
    return folder


@pytest.fixture(scope="module")
def two_months(new_settings: NewSettings) -> Iterator[Platform]:
    """January and February were run without an alarm; March's files lie there."""
    with platform(new_settings("two months")) as ready:
        months = generated(ready, USERS, 3, SEED)
        apply(ready)
        for number in (0, 1):
            assert run(ready, months, number).alarms == ()
        yield ready


@pytest.fixture
def copied(two_months: Platform, own_database: OwnDatabase) -> Iterator[Platform]:
    """The platform of a copy of the database."""
    with platform_of_a_copy(two_months, own_database) as ready:
        yield ready


def march(ready: Platform, folder: Path, change: Change) -> Path:
    """A folder of months whose third has March's files, changed."""
    write_changed(ready.settings.home / "months" / "month_002", folder / "month_002", change)
    return folder


def test_a_stable_month_has_no_alarm(copied: Platform, tmp_path: Path) -> None:
    done = run(copied, march(copied, tmp_path, unchanged), 2)
    assert (done.alarms, alarms_told(done)) == ((), [])
    assert done.report is not None
    assert "It is well: no alarm was raised." in done.report.read_text()


# What the report says of each fault.
SAID = {
    "a feature scaled by 1.1": "scale: watch_hours_30d: all values are about 1.1 times larger",
    "minutes for hours, of a tenth": (
        "unit: ticket_avg_resolution_hrs_90d: about 10 % of users are 60 times larger"
    ),
    "a column wholly null": "missing: plan_stream_tv: it is null for all users",
    "a category renamed": "categories: net_service: 'Fiber optic' has vanished",
    "labels flipped for a segment": (
        "quality: users with contract_type 'Month-to-month': the AUC of 2024-03-31 is 0."
    ),
    "5 % of the rows missing": (
        "missing rows: usage_agg_30d: 75 of 1,500 users have no row (about 5 %)"
    ),
}


def labels_may_come_later(ready: Platform) -> Platform:
    tables = [
        replace(table, arrives_later=table.name == "labels") for table in ready.use_case.tables()
    ]
    return replace(ready, use_case=replace(ready.use_case, tables=lambda: tables))


@pytest.mark.parametrize("name", SAID)
def test_a_fault_is_named_in_the_first_lines_of_the_report(
    copied: Platform, tmp_path: Path, name: str
) -> None:
    told = alarms_told(run(copied, march(copied, tmp_path, FAULTS[name][0]), 2))
    assert [line for line in told[:FIRST_LINES] if SAID[name] in line], told


def test_each_fault_has_its_words() -> None:
    assert SAID.keys() == FAULTS.keys()


def test_labels_that_are_a_month_late_are_named(copied: Platform, tmp_path: Path) -> None:
    months = march(copied, tmp_path, without_labels)
    told = alarms_told(run(labels_may_come_later(copied), months, 2, days_later=31))
    late = "late labels: labels: those of 2024-03-31 could be known since 2024-03-31"
    assert [line for line in told[:FIRST_LINES] if late in line], told


def test_a_category_that_the_contract_does_not_know_is_refused_with_its_place(
    copied: Platform, tmp_path: Path
) -> None:
    months = march(copied, tmp_path, renamed("Fibre"))
    with pytest.raises(ContractViolation, match="column 'net_service': 'Fibre' breaks the rule"):
        run(copied, months, 2)


def test_the_file_of_another_month_is_named_with_its_month(
    copied: Platform, tmp_path: Path
) -> None:
    february = usage_of(copied.settings.home / "months" / "month_001")
    told = alarms_told(run(copied, march(copied, tmp_path, february), 2))
    named = "another month's rows: usage_agg_30d: "
    (line,) = [one for one in told[:FIRST_LINES] if named in one]
    assert "are those of 2024-02-29" in line


def test_all_files_of_another_month_are_refused_with_its_name(
    copied: Platform, tmp_path: Path
) -> None:
    shutil.copytree(copied.settings.home / "months" / "month_001", tmp_path / "month_002")
    with pytest.raises(AnotherMonth, match="has the rows of AS_OF 2024-02-29"):
        run(copied, tmp_path, 2)


def test_months_without_drift_raise_no_alarm_but_by_chance(new_settings: NewSettings) -> None:
    """At most as many as the stated rate makes likely, of twelve months of each seed."""
    seeds, months = (range(20), 12) if LONG else (range(1), 4)
    raised, monitored = [], 0
    for seed in seeds:
        with platform(new_settings(f"seed {seed}")) as ready:
            folder = generated(ready, 700, months, seed)
            apply(ready)
            for number in range(months):
                done = run(ready, folder, number)
                monitored += number > 0
                raised += [(seed, number, one.sentence) for one in done.alarms]
    rate = ready.use_case.monitoring.false_alarms
    assert len(raised) <= stats.binom.ppf(0.999, monitored, rate), raised


@pytest.mark.parametrize("drift", [0.5, 1.0])
def test_a_month_that_has_drifted_names_the_features_that_moved_and_no_others(
    new_settings: NewSettings, drift: float
) -> None:
    with platform(new_settings(f"drift {drift}")) as ready:
        folder = generated(ready, 3_000, 12, SEED, drift)
        apply(ready)
        for number in (0, 10):
            run(ready, folder, number)
        done = run(ready, folder, 11)
        told = " ".join(alarms_told(done))
        named = {one.what for one in done.alarms if one.rule in FEATURE_RULES}
    assert named <= DRIFTING
    assert named >= DRIFTING - {"unique_devices_30d", "skips_7d", "rebuffer_events_7d"}
    assert all(f": {feature}: " in told for feature in named)
