"""Features that have moved are named, each fault by its rule; a stable month raises no alarm."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance
from tests.month_counts import bin_edges, churn_columns, counts

from churn import population
from streamflow.monitoring.alarm import Alarm, in_order
from streamflow.monitoring.rules.compared import (
    TESTS_PER_FEATURE,
    Compared,
    level,
    without_repeats,
)
from streamflow.monitoring.rules.features import features
from streamflow.monitoring.statistics import multiples
from streamflow.monitoring.statistics.shift import (
    jensen_shannon,
    population_stability_index,
    rarer_by_chance,
    shift,
    smoothed,
    tenths,
)
from streamflow.use_case import Monitoring

LONG = bool(os.environ.get("STREAMFLOW_LONG_TESTS"))
SEEDS = range(20 if LONG else 2)
BOUNDS = Monitoring()
DRIFTING = {
    *("watch_hours_30d", "avg_session_mins_7d", "skips_7d", "rebuffer_events_7d"),
    *("monthly_fee", "unique_devices_30d"),
}
Columns = dict[str, Any]


def monitor(training: Columns, before: Columns, now: Columns) -> tuple[Alarm, ...]:
    """The alarms of a month beside those of training and the one before, in order."""
    bins = bin_edges(training)
    current = counts(now, bins)
    chance = level(BOUNDS, 2 * TESTS_PER_FEATURE * len(current))
    found = []
    for name, columns in (("training", training), ("month before", before)):
        compared = Compared(name, name, "users", chance, BOUNDS)
        found += features(counts(columns, bins), current, compared)[1]
    return in_order(without_repeats(found))


def months(seed: int, users: int, drift: float = 0.0, number: int = 12) -> list[Columns]:
    return [churn_columns(one) for one in population.panel(users, number, seed, drift)]


@pytest.mark.parametrize("users", [100, 1_000, 5_000])
def test_months_without_drift_raise_no_alarm_however_many_users_there_are(users: int) -> None:
    alarms = []
    for seed in SEEDS:
        all_months = months(seed, users)
        for before, now in pairwise(all_months):
            alarms += monitor(all_months[0], before, now)
    monitorings = len(SEEDS) * 11
    assert len(alarms) <= stats.binom.ppf(0.999, monitorings, BOUNDS.false_alarms)


@pytest.mark.parametrize("drift", [0.5, 1.0])
def test_features_that_drift_are_named_and_no_others(drift: float) -> None:
    for seed in SEEDS[:4]:
        training, *_, before, now = months(seed, 3_000, drift)
        named = {alarm.what for alarm in monitor(training, before, now)}
        assert named <= DRIFTING
        assert named >= DRIFTING - {"unique_devices_30d", "skips_7d", "rebuffer_events_7d"}


@pytest.mark.slow
@pytest.mark.parametrize("drift", [0.5, 1.0])
def test_a_feature_that_drifts_is_named_in_the_month_in_which_it_is_beyond_the_bound(
    drift: float,
) -> None:
    """By what it is for many users, whose chance is small. Near the bound, either is right."""
    many, few = months(100, 40_000, drift), months(1, 5_000, drift)
    bins = bin_edges(many[0])
    training = counts(many[0], bins)
    seen = set()
    for number in range(1, 12):
        compared = Compared("training", "training", "users", 0.0, BOUNDS)
        figures = features(training, counts(many[number], bins), compared)[0]
        moved = {
            one.what: max(0.0, one.figures["psi"] - one.figures["psi_by_chance"]) for one in figures
        }
        named = {alarm.what for alarm in monitor(few[0], few[number - 1], few[number])}
        assert BOUNDS.shift is not None
        assert named >= {name for name, psi in moved.items() if psi > 1.3 * BOUNDS.shift}, number
        assert named <= DRIFTING
        seen |= named
    assert seen >= {"watch_hours_30d", "avg_session_mins_7d", "monthly_fee"}


@pytest.fixture(scope="module")
def two_months() -> list[Columns]:
    return months(7, 4_000, number=2)


def a_tenth(values: Any) -> Any:
    return np.random.default_rng(0).random(len(values)) < 0.1


def scaled(columns: Columns) -> None:
    columns["watch_hours_30d"] *= 1.1


def minutes_for_hours(columns: Columns) -> None:
    hours = columns["ticket_avg_resolution_hrs_90d"]
    hours[a_tenth(hours)] *= 60


def seconds_for_all(columns: Columns) -> None:
    columns["watch_hours_30d"] *= 3600


def wholly_null(columns: Columns) -> None:
    columns["plan_stream_tv"] = [None] * len(columns["plan_stream_tv"])


def numbers_null(columns: Columns) -> None:
    columns["skips_7d"][a_tenth(columns["skips_7d"])] = np.nan


def renamed(columns: Columns) -> None:
    columns["net_service"] = [
        "Fibre" if one == "Fiber optic" else one for one in columns["net_service"]
    ]


def turned_off(columns: Columns) -> None:
    columns["paperless_billing"] = [False] * len(columns["paperless_billing"])


def outliers(columns: Columns) -> None:
    fees = columns["monthly_fee"]
    fees[a_tenth(fees)] = 999.0


FAULTS: list[tuple[Callable[[Columns], None], str, str, str]] = [
    (scaled, "scale", "watch_hours_30d", "all values are about 1.1 times larger"),
    (
        minutes_for_hours,
        "unit",
        "ticket_avg_resolution_hrs_90d",
        "about 10 % of users are 60 times larger: a unit may have changed",
    ),
    (seconds_for_all, "scale", "watch_hours_30d", "all values are about 3,600 times larger"),
    (wholly_null, "missing", "plan_stream_tv", "it is null for all users"),
    (numbers_null, "missing", "skips_7d", "of users; it was never null"),
    (
        renamed,
        "categories",
        "net_service",
        "'Fibre' is new (about 44 % of users) and 'Fiber optic'",
    ),
    (turned_off, "categories", "paperless_billing", "'True' has vanished"),
    (outliers, "range", "monthly_fee", "of users are far outside the range of"),
]


@pytest.mark.parametrize(
    ("fault", "rule", "feature", "said"), FAULTS, ids=lambda one: str(one)[:20]
)
def test_a_fault_in_a_feature_is_named_first(
    two_months: list[Columns],
    fault: Callable[[Columns], None],
    rule: str,
    feature: str,
    said: str,
) -> None:
    training, now = two_months
    broken = {
        name: values.copy() if isinstance(values, np.ndarray) else list(values)
        for name, values in now.items()
    }
    fault(broken)
    first, *others = monitor(training, training, broken)
    assert (first.rule, first.what) == (rule, feature)
    assert said in first.sentence
    assert first.sentence.startswith(f"{feature}: ")
    assert {one.what for one in others} <= {feature}


COUNTS = st.lists(st.integers(0, 10_000), min_size=2, max_size=12)


@given(
    st.integers(2, 12).flatmap(
        lambda n: st.tuples(
            *[st.lists(st.integers(0, 10_000), min_size=n, max_size=n).filter(any)] * 2
        )
    )
)
def test_the_figures_of_a_shift_are_those_of_scipy(pair: tuple[list[int], list[int]]) -> None:
    before, after = (np.array(one) for one in pair)
    r, c = smoothed(before), smoothed(after)
    index = stats.entropy(r, c) + stats.entropy(c, r)
    assert population_stability_index(before, after) == pytest.approx(index, abs=1e-9)
    js = distance.jensenshannon(before / before.sum(), after / after.sum(), base=2)
    assert jensen_shannon(before, after) == pytest.approx(js, abs=1e-9, nan_ok=True)
    moved = shift(before, after)
    assert 0 <= moved.p <= 1
    assert moved.psi == pytest.approx(population_stability_index(after, before), abs=1e-9)


def test_chance_moves_the_index_as_far_as_is_said() -> None:
    random = np.random.default_rng(1)
    found = []
    for _ in range(2_000):
        before, after = (random.multinomial(size, [0.1] * 10) for size in (1_000, 400))
        found.append(shift(before, after))
    measured = [one.psi for one in found]
    assert np.mean(measured) == pytest.approx(found[0].by_chance, rel=0.05)
    assert np.std(measured) == pytest.approx(found[0].standard_error, rel=0.1)
    rejected = np.mean([one.p <= 0.01 for one in found])
    assert rejected <= stats.binom.ppf(0.999, 2_000, 0.01) / 2_000


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 60), st.integers(1, 60))
def test_no_share_is_called_rarer_than_by_the_exact_test(
    count: int, more: int, reference: int, reference_more: int
) -> None:
    rows, before = count + more, reference + reference_more
    table = [[count, rows - count], [reference, before - reference]]
    exact = stats.fisher_exact(table, alternative="greater").pvalue
    ours = rarer_by_chance(count, rows, reference, before)
    if ours < 0.05:
        assert ours >= exact * 0.95


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=100).filter(any))
def test_groups_are_ascending_and_have_about_as_many_rows_each(counts: list[int]) -> None:
    rows = np.array(counts)
    group = tenths(rows)
    assert (np.diff(group) >= 0).all()
    assert group[0] == 0
    sizes = np.bincount(group, rows)
    assert len(sizes) <= 10
    assert sizes.max() <= 0.2 * rows.sum() + 2 * rows.max()


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (60, "60 times larger"),
        (1 / 60, "60 times smaller"),
        (1.1, "1.1 times larger"),
        (1000.0, "1,000 times larger"),
        (5.0, "5 times larger"),
    ],
)
def test_a_factor_is_said_by_its_unit(factor: float, words: str) -> None:
    assert multiples.named_factor(factor) == words
