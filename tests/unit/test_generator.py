"""The churn generator: same numbers from the same seed, within the contracts, month after month."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn import generator, population
from churn.tables import tables
from streamflow.errors import InvalidSettings
from streamflow.use_case import Generation

COLUMNS = {
    "users": "user_id,signup_date,user_gender,user_is_senior,has_family,has_dependents",
    "subscriptions": "user_id,months_active,plan_stream_tv,plan_stream_movies,contract_type,"
    "paperless_billing,monthly_fee,total_paid,net_service",
    "usage_agg_30d": "user_id,watch_hours_30d,avg_session_mins_7d,unique_devices_30d,skips_7d,"
    "rebuffer_events_7d",
    "payments_agg_90d": "user_id,failed_payments_90d",
    "support_agg_90d": "user_id,support_tickets_90d,ticket_avg_resolution_hrs_90d",
    "labels": "user_id,churn_label",
}


def generate(
    folder: Path,
    users: int = 2_000,
    months: int = 1,
    seed: int = 1,
    drift: float = 0.0,
    progress: Callable[[str], None] = lambda file: None,
    rule_drift: float = 0.0,
) -> Path:
    generator.generate(Generation(folder, users, months, seed, drift, progress, rule_drift))
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*.csv"))
    }


def month_of(folder: Path, month: int) -> pd.DataFrame:
    frames = [
        pd.read_csv(folder / f"month_{month:03d}" / f"{name}.csv", index_col="user_id")
        for name in COLUMNS
    ]
    return pd.concat(frames, axis=1)


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture(scope="module")
def a_year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("year"), users=3_000, months=13, seed=7)


def test_the_same_generation_gives_the_same_bytes(tmp_path: Path) -> None:
    first = generate(tmp_path / "first", months=3, drift=0.5)
    second = generate(tmp_path / "second", months=3, drift=0.5)
    assert digests(first) == digests(second)
    assert len(digests(first)) == 18


def test_the_bytes_are_those_of_every_machine(tmp_path: Path) -> None:
    folder = generate(tmp_path, users=500, months=3, seed=42, drift=1.0)
    together = hashlib.sha256("".join(digests(folder).values()).encode()).hexdigest()
    assert together == "3a5b783430c17848fee3e910b312a3c2abe58d9eaaa69a5e77656fb0b57730de"


def test_another_seed_gives_other_subscribers_and_other_numbers(tmp_path: Path) -> None:
    first = month_of(generate(tmp_path / "first", seed=1), 0)
    second = month_of(generate(tmp_path / "second", seed=2), 0)
    assert not set(first.index) & set(second.index)
    assert (first["watch_hours_30d"].to_numpy() != second["watch_hours_30d"].to_numpy()).any()


def test_more_months_leave_the_earlier_ones_as_they_were(tmp_path: Path) -> None:
    short = digests(generate(tmp_path / "short", months=2))
    long = digests(generate(tmp_path / "long", months=4))
    assert {file: digest for file, digest in long.items() if file in short} == short


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
def test_each_file_keeps_its_contract(a_year: Path, table: Any) -> None:
    kinds = {name: str(column.dtype) for name, column in table.contract.columns.items()}
    dates = [name for name, kind in kinds.items() if kind == "date"]
    for month in (0, 12):
        file = a_year / f"month_{month:03d}" / f"{table.name}.csv"
        frame = pd.read_csv(
            file, dtype={name: kind for name, kind in kinds.items() if name not in dates}
        )
        for name in dates:
            frame[name] = [date.fromisoformat(value) for value in frame[name]]
        assert list(frame.columns) == list(table.contract.columns)
        assert len(table.contract.validate(frame, lazy=True)) == 3_000


def test_files_have_exactly_the_columns_of_the_design_and_spell_as_python_does(
    tmp_path: Path,
) -> None:
    folder = generate(tmp_path, users=50) / "month_000"
    assert names_in(folder) == sorted(f"{name}.csv" for name in COLUMNS)
    for name, header in COLUMNS.items():
        lines = (folder / f"{name}.csv").read_text().split("\n")
        assert lines[0] == header
        assert len(lines) == 52
        assert lines[-1] == ""
    shape = (
        r"\d{4}-[A-Z]{5},\d+,(True|False)?,(True|False)?,[A-Za-z -]+,(True|False),"
        r"\d+\.\d\d,\d+\.\d\d,(DSL|Fiber optic|No)"
    )
    for line in (folder / "subscriptions.csv").read_text().splitlines()[1:]:
        assert re.fullmatch(shape, line)


def test_plans_are_null_exactly_without_internet(a_year: Path) -> None:
    for month in (0, 6):
        panel = month_of(a_year, month)
        offline = panel["net_service"] == "No"
        assert offline.any()
        assert (panel["plan_stream_tv"].isna() == offline).all()
        assert (panel["plan_stream_movies"].isna() == offline).all()


def test_all_files_of_a_month_speak_of_the_same_users_not_sorted(a_year: Path) -> None:
    folder = a_year / "month_003"
    ids = [list(pd.read_csv(folder / f"{name}.csv")["user_id"]) for name in COLUMNS]
    assert all(each == ids[0] for each in ids)
    assert ids[0] != sorted(ids[0])


def test_whoever_churns_is_gone_next_month_and_no_id_returns(a_year: Path) -> None:
    gone: set[str] = set()
    for month in range(12):
        now, after = month_of(a_year, month), month_of(a_year, month + 1)
        leaving = set(now.index[now["churn_label"]])
        assert set(now.index) - set(after.index) == leaving
        gone |= leaving
        assert not gone & set(after.index)
        assert len(after) == 3_000
        assert after.index.is_unique


def test_those_who_stay_are_a_month_older_have_paid_and_are_otherwise_who_they_were(
    a_year: Path,
) -> None:
    now, after = month_of(a_year, 4), month_of(a_year, 5)
    staying = now.index[~now["churn_label"]]
    now, after = now.loc[staying], after.loc[staying]
    assert (after["months_active"] == now["months_active"] + 1).all()
    paid = (after["total_paid"] - now["total_paid"]).round(2)
    assert (paid == after["monthly_fee"]).all()
    assert 0.9 < (after["monthly_fee"] == now["monthly_fee"]).mean() < 1
    lasting = [*COLUMNS["users"].split(",")[1:], "net_service", "contract_type"]
    pd.testing.assert_frame_equal(now[lasting], after[lasting])
    assert now["watch_hours_30d"].corr(after["watch_hours_30d"]) > 0.5
    assert (now["watch_hours_30d"] != after["watch_hours_30d"]).mean() > 0.99


def test_the_signup_date_agrees_with_months_active(a_year: Path) -> None:
    panel = month_of(a_year, 2)
    signup = pd.to_datetime(panel["signup_date"])
    months = (2024 - signup.dt.year) * 12 + 3 - signup.dt.month
    assert (months == panel["months_active"]).all()


def test_without_drift_every_month_is_alike(a_year: Path) -> None:
    first, last = month_of(a_year, 0), month_of(a_year, 12)
    for column in first.select_dtypes("number"):
        moved = (last[column].mean() - first[column].mean()) / first[column].std()
        assert abs(moved) < 0.15, column
    assert abs(last["churn_label"].mean() - first["churn_label"].mean()) < 0.05


def test_rule_drift_one_replaces_what_leads_to_churn_in_a_year(tmp_path: Path) -> None:
    folder = generate(tmp_path, users=3_000, months=13, seed=7, rule_drift=1.0)
    first, last = month_of(folder, 0), month_of(folder, 12)

    def gap(month: pd.DataFrame, column: str) -> float:
        """How far those who churn are from the others, in standard deviations."""
        means = month.groupby("churn_label")[column].mean()
        return float((means[True] - means[False]) / month[column].std())

    assert gap(first, "months_active") < -0.8
    assert abs(gap(last, "months_active")) < 0.2
    assert abs(gap(first, "skips_7d")) < 0.2
    assert gap(last, "skips_7d") > 0.4
    # As many churn as before, and the subscribers are alike.
    assert abs(last["churn_label"].mean() - first["churn_label"].mean()) < 0.06
    assert abs(last["watch_hours_30d"].mean() - first["watch_hours_30d"].mean()) < 0.5


def test_drift_one_moves_usage_fee_and_churn_by_a_standard_deviation_a_year(
    tmp_path: Path, a_year: Path
) -> None:
    folder = generate(tmp_path, users=3_000, months=13, seed=7, drift=1.0)
    assert digests(folder / "month_000") == digests(a_year / "month_000")
    first, middle, last = (month_of(folder, month) for month in (0, 6, 12))
    for column, way in (
        ("watch_hours_30d", -1),
        ("avg_session_mins_7d", -1),
        ("unique_devices_30d", 1),
        ("skips_7d", 1),
        ("rebuffer_events_7d", 1),
        ("monthly_fee", 1),
    ):
        half = way * (middle[column].mean() - first[column].mean()) / first[column].std()
        whole = way * (last[column].mean() - first[column].mean()) / first[column].std()
        assert 0.3 < half < 0.7, column
        assert 0.75 < whole < 1.25, column
    assert last["churn_label"].mean() > first["churn_label"].mean() + 0.1


def test_subscribers_look_like_those_of_a_streaming_company(tmp_path: Path) -> None:
    panel = month_of(generate(tmp_path, users=20_000), 0)
    assert panel["churn_label"].mean() == pytest.approx(0.26, abs=0.015)
    net = panel["net_service"].fillna("No").value_counts(normalize=True)
    assert net[["DSL", "Fiber optic", "No"]].tolist() == pytest.approx([0.34, 0.44, 0.22], abs=0.01)
    contract = panel["contract_type"].value_counts(normalize=True)
    assert contract[["Month-to-month", "One year", "Two year"]].tolist() == pytest.approx(
        [0.55, 0.21, 0.24], abs=0.01
    )
    assert panel["avg_session_mins_7d"].std() > 5
    assert set(panel["failed_payments_90d"]) == {0, 1, 2, 3}
    assert panel["ticket_avg_resolution_hrs_90d"].between(1, 25).all()
    assert panel["months_active"].corr(panel["churn_label"]) < -0.3


@pytest.mark.parametrize("users", [1, 10, 50])
def test_a_handful_of_users_is_enough(tmp_path: Path, users: int) -> None:
    generate(tmp_path, users=users, months=30, drift=3.0)
    assert len(names_in(tmp_path)) == 30
    for month in (0, 29):
        assert len(month_of(tmp_path, month)) == users


def test_more_rows_than_are_written_at_a_time_have_unique_ids(tmp_path: Path) -> None:
    panel = month_of(generate(tmp_path, users=150_000), 0)
    assert len(panel) == 150_000
    assert panel.index.is_unique


@pytest.mark.slow
def test_no_two_subscribers_share_an_id() -> None:
    numbers = np.concatenate([np.arange(500_000), np.arange(500_000) * 10_000 + 500_000])
    ids = generator.user_ids(3, numbers)
    as_integers = (ids.astype(np.int64) - ord("-")) @ (np.int64(46) ** np.arange(10))
    assert len(np.unique(as_integers)) == len(np.unique(numbers))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"users": 0}, "users"),
        ({"users": 10_000_001}, "users"),
        ({"months": 0}, "months"),
        ({"months": 1_201}, "months"),
        ({"seed": -1}, "seed"),
        ({"drift": -0.1}, "drift"),
        ({"drift": float("nan")}, "drift"),
        ({"drift": float("inf")}, "drift"),
        ({"rule_drift": -0.1}, "rule-drift"),
    ],
)
def test_numbers_out_of_range_are_refused_with_the_fix(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidSettings) as refusal:
        generate(tmp_path / "new", **wrong)
    assert said in refusal.value.message
    assert f"--{said}" in refusal.value.next
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidSettings, match="can't be written"):
        generate(tmp_path / "file" / "months")


def test_progress_is_told_each_file(tmp_path: Path) -> None:
    told: list[str] = []
    generate(tmp_path / "new" / "folder", users=10, months=2, progress=told.append)
    assert told == [f"month_{month:03d}/{name}.csv" for month in (0, 1) for name in COLUMNS]


def test_an_interrupted_generation_leaves_whole_months_alone(tmp_path: Path) -> None:
    def interrupt(file: str) -> None:
        if file == "month_001/usage_agg_30d.csv":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, months=3, progress=interrupt)
    assert names_in(tmp_path) == ["month_000"]
    assert len(names_in(tmp_path / "month_000")) == 6


def test_a_killed_generation_leaves_no_half_month_and_can_be_run_again(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from churn import generator\n"
        "from streamflow.use_case import Generation\n"
        "die = lambda file: os._exit(9) if file == 'month_001/labels.csv' else None\n"
        "generator.generate(Generation(Path(sys.argv[1]), 2000, 2, 1, 0.0, die))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "killed")], env=environment, check=False
    )
    assert killed.returncode == 9
    assert names_in(tmp_path / "killed") == [".month_001.partial", "month_000"]
    again = generate(tmp_path / "killed", months=2)
    assert names_in(again) == ["month_000", "month_001"]
    assert digests(again) == digests(generate(tmp_path / "undisturbed", months=2))


def test_a_month_set_aside_by_a_killed_generation_comes_back(tmp_path: Path) -> None:
    generate(tmp_path, months=2)
    before = digests(tmp_path)
    (tmp_path / "month_001").rename(tmp_path / ".month_001.previous")
    generate(tmp_path, months=1)
    assert digests(tmp_path) == before


def test_the_same_month_again_is_not_touched_and_another_replaces_it(tmp_path: Path) -> None:
    generate(tmp_path)
    users = tmp_path / "month_000" / "users.csv"
    untouched, first = users.stat(), digests(tmp_path)
    generate(tmp_path)
    assert users.stat().st_ino == untouched.st_ino
    generate(tmp_path, seed=2)
    assert digests(tmp_path) != first
    assert names_in(tmp_path) == ["month_000"]


def test_random_streams_of_different_subjects_differ() -> None:
    first = population.uniform(population.random_stream(1, 3, 0, 1), 100)
    second = population.uniform(population.random_stream(1, 3, 1, 0), 100)
    assert (first != second).any()
