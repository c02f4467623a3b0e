"""What would have been reported of a model, and what came true: on generated worlds of which it is
known whether their rule changes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tests import tiny_case
from tests.month_files import NOW, MonthFiles, month_end

import churn
from churn.model import logistic_regression
from streamflow.training.backtest import Backtested, Judged, Plan, backtest
from streamflow.training.backtest_conclusions import agree, conclusions
from streamflow.training.dataset import TrainingSet
from streamflow.training.evaluation import Evaluation
from streamflow.training.served_model import Feature, FeatureSchema
from streamflow.use_case import Generation, UseCase

LONG = bool(os.environ.get("STREAMFLOW_LONG_TESTS"))
SEEDS = range(50 if LONG else 1)
FEATURES = {
    "churn": (
        *("months_active", "monthly_fee", "paperless_billing", "plan_stream_tv", "net_service"),
        *("watch_hours_30d", "avg_session_mins_7d", "unique_devices_30d", "skips_7d"),
        *("failed_payments_90d", "support_tickets_90d", "ticket_avg_resolution_hrs_90d"),
    ),
    "failures": ("kind", "age_weeks", "temperature_c", "alarms", "guard_open"),
}
USE_CASES = pytest.mark.parametrize(
    "use_case", [churn.use_case, tiny_case.use_case], ids=lambda one: one.name
)
MODELS = {"logistic_regression": logistic_regression}


def backtested(
    use_case: UseCase, folder: Path, seed: int, rule_drift: float, months: int, entities: int = 400
) -> list[Backtested]:
    """The backtest of a generated world; each model learns from six months at most."""
    assert use_case.generate is not None
    use_case.generate(Generation(folder, entities, months, seed, rule_drift=rule_drift))
    files = MonthFiles(folder, use_case, FEATURES[use_case.name])
    ends = [month_end(number) for number in range(months)]
    plan = Plan(ends, ends, timedelta(0), MODELS, seed, 0.25, most_months=6, ahead=1)
    return list(backtest(plan, files.rows))


def curve(points: Sequence[Judged | None]) -> tuple[float, float, float]:
    """The mean AUC of the points, and the means of their intervals' bounds."""
    told = [point.told for point in points if point and point.told]
    return (
        fmean(one.auc for one in told),
        fmean(one.auc_low for one in told),
        fmean(one.auc_high for one in told),
    )


@USE_CASES
def test_where_the_rule_changes_only_the_out_of_time_figure_comes_true(
    use_case: UseCase, tmp_path: Path
) -> None:
    months = 24 if LONG else 8
    within = above = too_high = worse = pairs = agreeing = 0
    for seed in SEEDS:
        done = backtested(use_case, tmp_path / str(seed), seed, 2.0, months)
        several = [one for one in done if one.out_of_time and one.next and len(one.months) > 3]
        true, _, _ = curve([one.next for one in several])
        reported, low, high = curve([one.out_of_time for one in several])
        at_random, _, _ = curve([one.at_random for one in several])
        within += low <= true <= high
        above += at_random > max(true, reported)
        (said,) = conclusions(done)
        assert said.out_of_time is not None
        pairs += said.out_of_time.too_high.as_ofs
        agreeing += said.out_of_time.agree
        assert said.at_random is not None
        assert said.more_months is not None
        too_high += (said.at_random.too_high.low or 0) > 0
        worse += (said.more_months.high or 0) < 0
        assert any("what led to the label changes" in one for one in said.sentences) or LONG
    assert too_high >= 0.9 * len(SEEDS)
    assert worse >= 0.9 * len(SEEDS)
    assert within >= 0.9 * len(SEEDS)
    assert above >= 0.9 * len(SEEDS)
    # Month by month it's a comparison of two samples of 400, and the truth moves between them.
    assert agreeing >= 0.7 * pairs


@USE_CASES
def test_where_the_rule_stays_more_months_are_better_and_both_figures_come_true(
    use_case: UseCase, tmp_path: Path
) -> None:
    entities = {"churn": 250, "failures": 120}[use_case.name]
    (said,) = conclusions(backtested(use_case, tmp_path, 1, 0.0, 8, entities))
    assert said.more_months is not None
    assert said.more_months.low is not None
    assert said.more_months.low > 0
    assert any("More months are better" in one for one in said.sentences)
    for believed in (said.at_random, said.out_of_time):
        assert believed is not None
        assert believed.agree >= 0.8 * believed.too_high.as_ofs


SCHEMA = FeatureSchema(
    "service",
    "entity",
    "id",
    (
        Feature("size", "view", "FLOAT64", nullable=False),
        Feature("kind", "view", "STRING", nullable=False),
    ),
)
MONTHS = [month_end(number) for number in range(6)]


def small_world(entities: int = 60, seed: int = 3) -> dict[date, TrainingSet]:
    """Per month its rows: the larger, the likelier."""
    random, world = np.random.default_rng(seed), {}
    for month in MONTHS:
        size = random.normal(size=entities)
        world[month] = TrainingSet(
            schema=SCHEMA,
            entities=[f"e{number:03}" for number in range(entities)],
            as_ofs=[month] * entities,
            columns={"size": size.tolist(), "kind": random.choice(["a", "b"], entities).tolist()},
            labels=(size + random.normal(size=entities) > 0.3).tolist(),
            known_at=NOW,
        )
    return world


def together(world: dict[date, TrainingSet], months: Sequence[date]) -> TrainingSet:
    parts = [world[month] for month in sorted(months)]

    def joined(values: Any) -> list[Any]:
        return [value for part in parts for value in values(part)]

    return TrainingSet(
        schema=SCHEMA,
        entities=joined(lambda part: part.entities),
        as_ofs=joined(lambda part: part.as_ofs),
        columns={
            name: joined(lambda part, name=name: part.columns[name]) for name in ("size", "kind")
        },
        labels=joined(lambda part: part.labels),
        known_at=parts[0].known_at,
    )


def of(world: dict[date, TrainingSet], **changes: Any) -> list[Backtested]:
    plan = Plan(MONTHS, MONTHS, timedelta(0), {"plain": plain}, 1, 0.25)
    return list(backtest(replace(plan, **changes), lambda months, _: together(world, months)))


def plain(random_state: int) -> Any:
    return LogisticRegression(random_state=random_state)


def test_what_came_true_is_the_model_of_all_known_rows_on_a_later_month() -> None:
    world = small_world()
    _, found = of(world, as_ofs=[MONTHS[2]])
    known, later = together(world, MONTHS[:3]), world[MONTHS[4]]

    def matrix(rows: TrainingSet) -> Any:
        size, kind = np.array(rows.columns["size"]), np.array(rows.columns["kind"])
        return np.column_stack([size, kind == "a", kind == "b"])

    model = plain(1).fit(matrix(known), known.labels)
    expected = roc_auc_score(later.labels, model.predict_proba(matrix(later))[:, 1])
    judged = found.came_true[1]
    assert judged.months == (MONTHS[4],)
    assert judged.figures is not None
    assert judged.figures.auc == pytest.approx(expected)
    assert [one.months for one in found.came_true] == [(month,) for month in MONTHS[3:]]


def test_what_came_true_of_a_month_is_the_next_ones_out_of_time_figure() -> None:
    found = {one.as_of: one for one in of(small_world(), ahead=1) if len(one.months) > 1}
    for before, after in pairwise(MONTHS[1:]):
        true, reported = found[before].next, found[after].out_of_time
        assert true is not None
        assert reported is not None
        assert true.figures == reported.figures


@settings(max_examples=200 if LONG else 5)
@given(st.integers(0, 70), st.integers(0, 5), st.integers(0, 2**16))
def test_no_label_that_wasnt_known_is_learned_from(days: int, number: int, seed: int) -> None:
    world, horizon, as_of = small_world(40), timedelta(days), MONTHS[number]
    random = np.random.default_rng(seed)
    changed = {
        month: replace(
            rows,
            columns={**rows.columns, "size": random.normal(size=40).tolist()},
            labels=random.choice([True, False], 40).tolist(),
        )
        if month + horizon > as_of
        else rows
        for month, rows in world.items()
    }
    one, other = (of(each, as_ofs=[as_of], horizon=horizon, ahead=1) for each in (world, changed))
    assert [(each.at_random, each.out_of_time) for each in one] == [
        (each.at_random, each.out_of_time) for each in other
    ]
    for each in one:
        assert all(month + horizon <= as_of for month in each.months)
        assert all(month + horizon > as_of for judged in each.came_true for month in judged.months)


def test_a_day_on_which_no_label_was_known_has_no_model() -> None:
    (found,) = of(small_world(), as_ofs=MONTHS[:1], horizon=timedelta(10))
    assert (found.months, found.came_true) == ((), ())
    assert "no label was known" in found.problem


def test_of_too_few_rows_nothing_is_told() -> None:
    found = of(small_world(12), ahead=1)
    assert all(one.next.told is None for one in found if one.next)
    (said,) = conclusions(found)
    assert (said.at_random, said.out_of_time, said.more_months) == (None, None, None)
    assert "10 rows of each label" in said.sentences[0]


def test_a_month_with_one_label_is_told_and_the_others_go_on() -> None:
    world = small_world()
    world[MONTHS[1]] = replace(world[MONTHS[1]], labels=[False] * 60)
    found = of(world, as_ofs=MONTHS[:3], ahead=1)
    alone = {one.as_of: one for one in found if len(one.months) == 1}
    assert alone[MONTHS[0]].next is not None
    assert alone[MONTHS[0]].next.figures is None
    assert alone[MONTHS[1]].at_random is None
    assert "with the label true" in alone[MONTHS[1]].problem
    assert alone[MONTHS[2]].at_random is not None


def figures(auc: float, low: float, high: float) -> Evaluation:
    return Evaluation(auc, low, high, 0.5, 0.5, 0.5, 0.5, 0.5)


def test_two_figures_agree_where_their_difference_may_be_none() -> None:
    one = figures(0.80, 0.76, 0.84)
    assert agree(one, figures(0.75, 0.71, 0.79))  # 0.05 by 0.057
    assert not agree(one, figures(0.74, 0.70, 0.78))
    assert agree(one, one)
