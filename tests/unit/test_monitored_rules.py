"""What came true, what is expected, scores, what was online, and a month's tables: their alarms."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
from tests import simulated_scores

from streamflow.monitoring.alarm import Alarm
from streamflow.monitoring.rules.compared import Compared
from streamflow.monitoring.rules.data import DataFacts, LateLabels, TableFacts, data
from streamflow.monitoring.rules.estimated import estimated
from streamflow.monitoring.rules.quality import Matured, Promised, promised, quality
from streamflow.monitoring.rules.scores import scores
from streamflow.monitoring.rules.skew import SkewCounts, skew
from streamflow.monitoring.statistics.estimate import calibrator, estimate
from streamflow.monitoring.statistics.scored import Scored, Segments, measured
from streamflow.use_case import Monitoring

BOUNDS, LEVEL = Monitoring(), 0.0001
JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
PLANS = ("basic", "gold", "none")
TRAINING = Compared("training", "the months of training", "users", LEVEL, BOUNDS)


def month(seed: int, rows: int = 4_000) -> Scored:
    """A calibrated model's scores with labels; a third of the users has each plan."""
    random = np.random.default_rng(seed)
    log_odds, labels = simulated_scores.population(random, rows)
    probabilities = simulated_scores.model(random, log_odds)
    codes = np.arange(rows, dtype=np.int32) % len(PLANS)
    segments = {"plan": Segments(PLANS, codes)}
    return Scored(probabilities, (probabilities > 0.5).astype(np.int64), labels, segments)


BEFORE = month(0)


def promise() -> Promised:
    found = measured(BEFORE, 0)
    assert found is not None
    return promised(found.as_metrics())


def judged(scored: Scored) -> tuple[list[Any], list[Alarm]]:
    matured = Matured(MARCH, 1, scored, BEFORE)
    return quality(matured, promise(), "users", LEVEL, BOUNDS, 0)


def flipped(scored: Scored, plan: str) -> Scored:
    assert scored.labels is not None
    here = scored.segments["plan"].codes == PLANS.index(plan)
    return replace(scored, labels=np.where(here, 1 - scored.labels, scored.labels))


def test_a_month_as_good_as_was_promised_raises_no_alarm() -> None:
    for seed in range(1, 4):
        figures, alarms = judged(month(seed))
        assert alarms == []
    whole, *segments = figures
    assert whole.figures["auc"] == pytest.approx(whole.figures["promised"]["auc"], abs=0.03)
    assert whole.figures["auc_low"] < whole.figures["auc"] < whole.figures["auc_high"]
    assert whole.figures["calibration_error"]["value"] < 0.03
    assert [one.what for one in segments] == [f"users with plan {plan!r}" for plan in PLANS]


def test_labels_that_are_flipped_for_a_segment_are_named_with_it() -> None:
    _, alarms = judged(flipped(month(1), "gold"))
    in_segment = [one for one in alarms if one.what == "users with plan 'gold'"]
    assert {one.rule for one in in_segment} == {"quality", "calibration"}
    assert {one.severity for one in in_segment} == {"critical"}
    assert not [one for one in alarms if "basic" in one.what or "none" in one.what]
    assert "by the labels" in in_segment[0].sentence


def test_worse_scores_are_told_beside_what_was_promised() -> None:
    random = np.random.default_rng(1)
    log_odds, labels = simulated_scores.population(random, 4_000)
    worse = simulated_scores.model(random, log_odds, noise=3.0)
    _, (alarm,) = judged(Scored(worse, (worse > 0.5).astype(np.int64), labels))
    assert (alarm.rule, alarm.what) == ("quality", "all users")
    assert "was promised" in alarm.sentence


def test_too_few_labels_say_nothing() -> None:
    few = month(1, 15)
    figures, alarms = judged(replace(few, labels=np.zeros(15, np.int64)))
    assert alarms == []
    assert "auc" not in figures[0].figures


def estimated_of(scored: Scored, raised: list[Alarm]) -> tuple[list[Any], list[Alarm]]:
    assert BEFORE.labels is not None
    calibrated = calibrator(BEFORE.probabilities, BEFORE.labels)
    assert calibrated is not None
    found = estimate(scored, calibrated)
    return estimated(MARCH, found, calibrated, promise(), "users", raised, LEVEL, BOUNDS)


def test_scores_that_say_less_are_estimated_to_be_worse() -> None:
    now = month(3)
    assert estimated_of(now, [])[1] == []
    less = replace(now, probabilities=0.2 + 0.2 * now.probabilities)
    (figure,), (alarm,) = estimated_of(less, [])
    assert alarm.rule == "estimate"
    assert "is estimated to be" in alarm.sentence
    assert figure.figures["doubts"] == []


def test_an_estimate_on_values_unlike_those_of_before_is_not_believed() -> None:
    now = month(3)
    less = replace(now, probabilities=0.2 + 0.2 * now.probabilities)
    unit = Alarm("unit", "hours", "critical", 0.1, 0.01, "training", "hours: …")
    (figure,), alarms = estimated_of(less, [unit])
    assert alarms == []
    assert "hours" in figure.figures["doubts"][0]


def test_scores_that_moved_are_told_with_the_share_above_the_threshold() -> None:
    for seed in range(1, 9):
        assert scores(BEFORE, month(seed), TRAINING)[1] == []
    higher = np.minimum(month(1).probabilities * 1.6, 1)
    now = Scored(higher, (higher > 0.5).astype(np.int64))
    figure, alarms = scores(BEFORE, now, TRAINING)
    assert {one.rule for one in alarms} == {"score", "share above"}
    assert figure.figures["above"] > figure.figures["above_before"]


def test_features_that_differ_online_are_counted_by_feature() -> None:
    counts = SkewCounts(1_010, 10, {"hours": 20, "plan": 0, "score": 1})
    figures, alarms = skew(counts, BOUNDS)
    assert [(one.what, one.severity, one.figure) for one in alarms] == [
        ("hours", "critical", 0.02),
        ("score", "warning", 0.001),
    ]
    assert [one.figures["share"] for one in figures] == [0.02, 0.0, 0.001]
    assert "20 of 1,000 logged predictions" in alarms[0].sentence
    assert skew(SkewCounts(0, 0, {}), BOUNDS) == ([], [])


TABLE = TableFacts("usage", 2_000, 0, 2_000, 0, usually_same=0.1)
STABLE = DataFacts(
    as_of=MARCH,
    known_at=datetime(2024, 4, 2, tzinfo=UTC),
    entities=2_000,
    entities_before=2_000,
    new=500,
    absent=500,
    changes=(0.0, 0.001, -0.001),
    tables=(TABLE, replace(TABLE, table="plans", usually_same=0.98)),
    late_labels=(),
    month_before=FEBRUARY,
)


def alarms_of(facts: DataFacts) -> list[Alarm]:
    return data(facts, "users", LEVEL, BOUNDS)[1]


def test_a_month_like_the_one_before_raises_no_alarm() -> None:
    assert alarms_of(STABLE) == []
    same = replace(STABLE.tables[1], same_as=FEBRUARY, same=1.0)  # it always is
    assert alarms_of(replace(STABLE, tables=(TABLE, same))) == []
    assert alarms_of(replace(STABLE, entities_before=None, new=None, absent=None)) == []


def test_five_percent_of_the_rows_missing_are_told() -> None:
    (volume,) = alarms_of(replace(STABLE, entities=1_900, new=475, absent=575))
    assert (volume.rule, volume.what) == ("volume", "users")
    assert "1,900, about 5 % fewer than the 2,000 of 2024-02-29" in volume.sentence
    (rows,) = alarms_of(replace(STABLE, tables=(replace(TABLE, rows=1_900, lacking=100),)))
    assert (rows.rule, rows.what) == ("missing rows", "usage")
    assert "100 of 2,000 users have no row" in rows.sentence


def test_without_earlier_months_a_volume_is_judged_by_chance() -> None:
    few = replace(STABLE, changes=(), entities=100, entities_before=105, new=20, absent=25)
    assert alarms_of(few) == []
    many = replace(
        STABLE, changes=(), entities=95_000, entities_before=100_000, new=0, absent=5_000
    )
    assert [one.rule for one in alarms_of(many)] == ["volume"]


def test_a_volume_that_always_varies_so_much_raises_no_alarm() -> None:
    facts = replace(STABLE, entities=1_900, new=475, absent=575, changes=(0.06, -0.05, 0.04, -0.06))
    assert alarms_of(facts) == []


def test_a_table_that_is_not_there_is_late() -> None:
    late = replace(TABLE, rows=0, lacking=2_000)
    (alarm,) = alarms_of(replace(STABLE, tables=(late,)))
    assert (alarm.rule, alarm.what, alarm.severity) == ("late table", "usage", "critical")


def test_labels_a_month_late_are_told_with_their_month() -> None:
    due = datetime(2024, 3, 2, tzinfo=UTC)
    (alarm,) = alarms_of(replace(STABLE, late_labels=(LateLabels(JANUARY, due),)))
    assert alarm.rule == "late labels"
    assert "those of 2024-01-31 could be known since 2024-03-02" in alarm.sentence
    assert "31 days later" in alarm.sentence
    soon = replace(STABLE, late_labels=(LateLabels(JANUARY, due),), known_at=due)
    assert alarms_of(soon) == []


def test_another_months_file_is_named_with_that_month() -> None:
    same = replace(TABLE, same_as=JANUARY, same=1.0)
    (alarm,) = alarms_of(replace(STABLE, tables=(same, STABLE.tables[1])))
    assert (alarm.rule, alarm.what) == ("another month's rows", "usage")
    assert "all of the rows are those of 2024-01-31" in alarm.sentence
    unknown = tuple(
        replace(one, same_as=JANUARY, same=1.0, usually_same=None) for one in STABLE.tables
    )
    assert len(alarms_of(replace(STABLE, tables=unknown))) == 2
    assert alarms_of(replace(STABLE, tables=(unknown[0], STABLE.tables[1]))) == []


def test_many_corrections_are_told() -> None:
    (alarm,) = alarms_of(replace(STABLE, tables=(replace(TABLE, corrected=200),)))
    assert (alarm.rule, alarm.figure) == ("corrections", 0.1)
