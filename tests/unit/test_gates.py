"""Each gate: what passes it, what it stops, and what it can't tell."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulated_scores import NOISE, NOISE_OF_TWICE_THE_MARGIN, model, pair, population, share

from streamflow.promotion.gates.approval import Approval, approval_gate
from streamflow.promotion.gates.calibration import calibration_gate
from streamflow.promotion.gates.judged_pair import JudgedPair
from streamflow.promotion.gates.judging_rows import at_most_enough, rounded, would_do
from streamflow.promotion.gates.latency import Timings, latency_gate
from streamflow.promotion.gates.quality import RecordedFigures, quality_gate
from streamflow.promotion.gates.recreated import Recreation, recreated_gate
from streamflow.promotion.gates.result import GATES, GateReport, GateResult, Versions
from streamflow.promotion.gates.segment_comparison import compare_segments, segments_of
from streamflow.promotion.gates.segments import segments_gate
from streamflow.promotion.gates.servable import Servable, servable_gate
from streamflow.promotion.gates.stability import ScoredPair, stability_gate
from streamflow.training.statistics.comparison import Interval, compare
from streamflow.training.statistics.ranked_scores import RankedScores
from streamflow.use_case import Gates

LONG = bool(os.environ.get("STREAMFLOW_LONG_TESTS"))
PAIRS = 200 if LONG else 10
# With the base rate of the churn case, 26 %: some 780 labels are true.
ROWS = 3000
VERSIONS, FIRST = Versions(4, 3), Versions(1, None)
NONE = RecordedFigures({})
SENIOR = "users.user_is_senior"


def quality(*pairs: JudgedPair, gates: Gates | None = None, **given_: Any) -> GateResult:
    arguments: dict[str, Any] = {"recorded": NONE, "acceptance": {}, "versions": VERSIONS}
    return quality_gate(pairs, gates=gates or Gates(), random_state=0, **(arguments | given_))


def with_scores(rows: JudgedPair, candidate: Any) -> JudgedPair:
    return replace(rows, candidate_scores=np.asarray(candidate, dtype=np.float64))


# Quality


def test_equal_models_are_seldom_stopped_and_those_twice_the_margin_worse_nearly_always() -> None:
    random = np.random.default_rng(1)
    log_odds, labels = population(random, 400_000)
    auc = [
        RankedScores(labels, model(random, log_odds, noise)).counted(np.ones_like(labels)).auc or 0
        for noise in (NOISE, NOISE_OF_TWICE_THE_MARGIN)
    ]
    assert auc[0] - auc[1] == pytest.approx(2 * 0.02, abs=0.003)
    equal = [quality(pair(seed, ROWS)) for seed in range(PAIRS)]
    worse = [quality(pair(seed, ROWS, NOISE_OF_TWICE_THE_MARGIN)) for seed in range(PAIRS)]
    assert sum(not one.passed for one in equal) <= 0.05 * PAIRS
    assert sum(not one.passed for one in worse) >= 0.9 * PAIRS
    assert Counter(one.outcome for one in equal)["failed"] == 0


def test_scores_by_shuffled_labels_are_worse() -> None:
    rows = pair(0, 1000)
    shuffled = np.random.default_rng(0).permutation(rows.candidate_scores)
    found = quality(with_scores(rows, shuffled))
    assert found.outcome == "failed"
    assert found.message.startswith(
        "Version 4 is worse than version 3 by more than the margin. On 2024-03-31 (1,000 rows, "
    )
    assert "`streamflow compare 3 4`" in found.what_to_do


def test_too_few_rows_cant_tell_and_the_message_says_how_many_would_do() -> None:
    outcomes = []
    for seed in range(4):
        found = quality(pair(seed, 400))
        assert found.outcome == "can't tell"
        needed = re.search(
            r"rows with the label true are too few, about ([\d,]+) would do", found.message
        )
        assert needed is not None
        positives = int(needed[1].replace(",", ""))
        assert 300 <= positives <= 1200
        # So many do, with the churn case's base rate.
        outcomes.append(quality(pair(100 + seed, round(positives / 0.26))).outcome)
    assert outcomes == ["passed"] * 4


def test_a_handful_of_rows_cant_tell_either() -> None:
    rows = pair(0, 30)
    found = quality(rows.at(rows.labels == 0), with_scores(rows, rows.current_scores))
    assert found.outcome == "can't tell"
    assert "0 of " in found.message
    assert "rows with the label true are too few, about 610 would do" in found.message
    assert "--override quality --why" in found.what_to_do


def test_without_rows_nothing_can_be_told() -> None:
    found = quality()
    assert found.outcome == "can't tell"
    assert "no rows with known labels that neither was trained on" in found.message
    alone = quality(replace(pair(0, ROWS), current_scores=None))
    assert alone.outcome == "can't tell"
    assert "version 3 has no scores to compare with" in alone.message


def test_a_difference_near_the_margin_isnt_a_matter_of_more_rows() -> None:
    rows = pair(0, 9000, 0.78)
    found = quality(rows, gates=Gates(auc_margin=0.021, average_precision_margin=None))
    assert found.outcome == "can't tell"
    assert "the difference is too near to the margin" in found.message


def test_one_source_that_tells_is_enough_and_one_that_fails_stops() -> None:
    good, small = pair(0, ROWS), pair(1, 60, source="the validation rows of both")
    assert quality(small).outcome == "can't tell"
    assert quality(good, small).outcome == "passed"
    bad = with_scores(pair(2, 1000), np.random.default_rng(0).random(1000))
    found = quality(good, replace(bad, source="2024-04-30"))
    assert found.outcome == "failed"
    assert "On 2024-03-31" in found.message
    assert "On 2024-04-30" in found.message


def test_the_first_version_has_no_rival_and_says_so() -> None:
    rows = replace(pair(0, 500), current_scores=None)
    found = quality(rows, versions=FIRST)
    assert found.outcome == "passed"
    assert found.message.startswith("There is nothing to compare with")
    assert quality(versions=FIRST).outcome == "passed"


def test_without_margins_nothing_is_compared() -> None:
    none = Gates(auc_margin=None, average_precision_margin=None)
    assert quality(pair(0, 60), gates=none).outcome == "passed"
    assert quality(gates=none).outcome == "passed"


@pytest.mark.parametrize(
    ("metrics", "outcome", "said"),
    [
        ({"auc": 0.71}, "passed", "auc is 0.7100, at least 0.7 is asked"),
        ({"auc": 0.7}, "passed", "auc is 0.7000"),
        ({"auc": 0.69}, "failed", "below the acceptance bar: auc is 0.6900, at least 0.7 is asked"),
        ({"auc": float("nan")}, "failed", "auc is nan"),
        ({}, "failed", "auc isn't measured"),
        ({"auc": 0.9, "auc_low": 0.0, "auc_high": 1.0}, "can't tell", "fewer than 10 rows"),
    ],
)
def test_the_acceptance_bar_is_part_of_quality(
    metrics: dict[str, float], outcome: str, said: str
) -> None:
    recorded = RecordedFigures(metrics, "Judged on 2024-02-29.")
    for versions, pairs in ((FIRST, ()), (VERSIONS, (pair(0, ROWS),))):
        found = quality(*pairs, recorded=recorded, acceptance={"auc": 0.7}, versions=versions)
        assert found.outcome == outcome
        assert said in found.message


def test_a_version_that_is_below_the_bar_on_a_later_month_is_stopped() -> None:
    """Its own figures are of rows that are like those that it learned from."""
    rows = replace(pair(0, 2000), current_scores=None)
    found = quality(
        rows,
        recorded=RecordedFigures({"auc": 0.95}),
        acceptance={"auc": 0.9},
        versions=FIRST,
    )
    assert found.outcome == "failed"
    assert re.search(
        r"auc is 0\.\d{4} on 2024-03-31 \(95 % interval .*at least 0\.9", found.message
    )


def test_more_rows_than_enough_are_a_random_part_with_whole_entities() -> None:
    rows = 120_000
    labels = (np.arange(rows) % 20 == 0).astype(np.int64)
    entities = [str(row // 2) for row in range(rows)]
    scores = np.zeros(rows)
    found = at_most_enough(JudgedPair("", labels, scores, scores, entities), 0)
    assert 48_000 < found.rows < 52_000
    assert found.entities is not None
    assert set(Counter(found.entities).values()) == {2}
    rare = (np.arange(rows) % 100 == 0).astype(np.int64)
    assert at_most_enough(JudgedPair("", rare, scores, scores), 0).rows == rows


@given(width=st.floats(0.021, 1), rows=st.integers(10, 10_000))
def test_what_would_do_makes_the_interval_as_narrow_as_the_margin(width: float, rows: int) -> None:
    needed = would_do(rows, Interval(0, -width / 2, width / 2, width / 4), 0.02)
    assert width * np.sqrt(rows / needed) <= 0.02 * (1 + 1e-9)
    assert float(rounded(needed).replace(",", "")) >= needed


def test_a_bar_within_the_interval_of_a_later_month_doesnt_stop() -> None:
    rows = replace(pair(0, 2000), current_scores=None)
    auc = compare(rows.labels, rows.candidate_scores, None, None, 0)["auc"].candidate.value
    recorded = RecordedFigures({"auc": 0.95})
    found = quality(rows, recorded=recorded, acceptance={"auc": auc + 0.01}, versions=FIRST)
    assert found.outcome == "passed"


# Calibration


@pytest.mark.parametrize("miscalibrated", [lambda p: p / 2, lambda p: 2 * p / (1 + p)])
def test_a_model_that_is_equal_but_miscalibrated_by_two_is_stopped_by_calibration(
    miscalibrated: Any,
) -> None:
    """Its shares are half as high, or its odds twice."""
    rows = pair(0, ROWS)
    changed = with_scores(rows, miscalibrated(rows.candidate_scores))
    assert quality(changed).outcome == quality(rows).outcome == "passed"
    found = calibration_gate([changed], Gates(), VERSIONS, 0)
    assert found.outcome == "failed"
    assert "off by more than 0.05" in found.message
    assert "--calibrate" in found.what_to_do


def test_equal_models_pass_calibration() -> None:
    found = [calibration_gate([pair(seed, 1000)], Gates(), VERSIONS, 0) for seed in range(10)]
    assert [one.outcome for one in found] == ["passed"] * 10


def test_few_rows_cant_tell_whether_scores_are_calibrated() -> None:
    found = [calibration_gate([pair(seed, 80)], Gates(), VERSIONS, 0) for seed in range(8)]
    assert "passed" not in {one.outcome for one in found}
    # By their error alone, some would pass.
    errors = [one.figures["pairs"][0]["candidate"] for one in found]
    assert min(one["expected_calibration_error"]["value"] for one in errors) < 0.05


def test_calibration_is_of_the_first_version_too() -> None:
    rows = replace(pair(0, ROWS), current_scores=None)
    assert calibration_gate([rows], Gates(), FIRST, 0).outcome == "passed"
    half = with_scores(rows, rows.candidate_scores / 2)
    assert calibration_gate([half], Gates(), FIRST, 0).outcome == "failed"


def test_calibration_without_rows_or_without_a_bound() -> None:
    no_bound = Gates(calibration_error=None)
    half = with_scores(pair(0, ROWS), pair(0, ROWS).candidate_scores / 2)
    assert calibration_gate([], Gates(), VERSIONS, 0).outcome == "can't tell"
    assert calibration_gate([pair(0, 20)], Gates(), VERSIONS, 0).outcome == "can't tell"
    assert calibration_gate([], no_bound, VERSIONS, 0).outcome == "passed"
    shown = calibration_gate([half], no_bound, VERSIONS, 0)
    assert shown.outcome == "passed"
    assert "the error is 0.1" in shown.message


# Segments


def with_seniors(seed: int, noise_of_seniors: float, rows: int = 6000) -> JudgedPair:
    """Every tenth row is a senior's, for whom alone the candidate has another noise."""
    random = np.random.default_rng(seed)
    log_odds, labels = population(random, rows)
    seniors = np.arange(rows) % 10 == 0
    candidate = np.where(
        seniors, model(random, log_odds, noise_of_seniors), model(random, log_odds)
    )
    values = [bool(one) for one in seniors]
    return JudgedPair(
        "2024-03-31", labels, candidate, model(random, log_odds), segments={SENIOR: values}
    )


SEGMENTED = Gates(segments=(SENIOR,))


def test_a_model_that_is_worse_for_seniors_only_is_stopped_by_segments_alone() -> None:
    rows = with_seniors(0, 1.8, 10_000)
    assert quality(rows).outcome == "passed"
    assert calibration_gate([rows], SEGMENTED, VERSIONS, 0).outcome == "passed"
    found = segments_gate([rows], SEGMENTED, VERSIONS, 0)
    assert found.outcome == "failed"
    assert f"worse than version 3 for {SENIOR} = True on 2024-03-31 (1,000 rows" in found.message
    assert f"{SENIOR} = False" not in found.message


def test_a_model_whose_scores_are_too_low_for_seniors_only_is_stopped_by_segments() -> None:
    rows = with_seniors(0, NOISE)
    seniors = np.array(rows.segments[SENIOR])
    low = with_scores(rows, np.where(seniors, rows.candidate_scores / 2, rows.candidate_scores))
    found = segments_gate([low], SEGMENTED, VERSIONS, 0)
    assert found.outcome == "failed"
    assert "farther from the share of true labels" in found.message


def test_equal_models_pass_segments() -> None:
    found = [
        segments_gate([with_seniors(seed, NOISE)], SEGMENTED, VERSIONS, 0)
        for seed in range(100 if LONG else 4)
    ]
    assert sum(not one.passed for one in found) <= 0.05 * len(found)
    assert "In none of 2 segments" in found[0].message


def test_a_single_segment_is_said_to_be_one() -> None:
    gates = replace(SEGMENTED, segments=("users.region",))
    rows = replace(pair(0, 3000), segments={"users.region": ["north"] * 3000})
    found = segments_gate([rows], gates, VERSIONS, 0)
    assert found.message.startswith(
        "In the only segment with enough rows version 4 is not worse than version 3 by more than"
    )


def test_many_equal_segments_dont_make_one_fall_by_chance() -> None:
    """Each alone would: of 15 small ones, one is lower by twice its standard error every time."""
    gates = Gates(segments=("users.region",), segment_calibration_margin=None)
    found = []
    for seed in range(60 if LONG else 2):
        rows = pair(seed, 1500)
        values = np.random.default_rng(seed).integers(0, 15, 1500).tolist()
        many = replace(rows, segments={"users.region": values})
        found.append(segments_gate([many], gates, VERSIONS, 0))
    assert sum(one.outcome == "failed" for one in found) <= 0.05 * len(found)
    # They are too small for a fall to be seen, too.
    assert all("Too small to tell: users.region = " in one.message for one in found)
    lowest = [one["auc_difference"] for single in found for one in single.figures["segments"]]
    assert min(one["value"] for one in lowest) < -0.05


def test_the_more_segments_are_looked_at_the_wider_their_intervals() -> None:
    """Bonferroni: of k looks, each misses with 5 % / k."""
    from scipy.stats import norm

    rows = replace(pair(0, 600), segments={"users.region": [row % 3 for row in range(600)]})
    gates = Gates(segments=("users.region",))
    first, *_ = segments = [*segments_of(rows, gates.segments)]
    widths = []
    for looked_at in ([first], segments):
        auc = compare_segments(looked_at, gates, 0)[0].auc
        assert auc is not None
        widths.append(auc.width)
    looks = 2, 6  # the AUC and the mean score of each
    of_normal = [float(norm.ppf(1 - 0.025 / k)) for k in looks]
    assert widths[1] / widths[0] == pytest.approx(of_normal[1] / of_normal[0])


def test_small_segments_are_named_and_dont_stop() -> None:
    rows = with_seniors(0, NOISE)
    values = [None if row < 20 else value for row, value in enumerate(rows.segments[SENIOR])]
    found = segments_gate([replace(rows, segments={SENIOR: values})], SEGMENTED, VERSIONS, 0)
    assert found.outcome == "passed"
    assert f"Too small to tell: {SENIOR} = null on 2024-03-31 (" in found.message
    few = replace(pair(0, 40), segments={SENIOR: [True, False] * 20})
    assert segments_gate([few], SEGMENTED, VERSIONS, 0).outcome == "can't tell"


def test_segments_without_what_they_need() -> None:
    rows = with_seniors(0, 2.5)
    assert segments_gate([rows], Gates(), VERSIONS, 0).outcome == "passed"
    assert segments_gate([rows], SEGMENTED, FIRST, 0).outcome == "passed"
    unbound = replace(SEGMENTED, segment_auc_margin=None, segment_calibration_margin=None)
    assert segments_gate([rows], unbound, VERSIONS, 0).outcome == "passed"
    assert segments_gate([], SEGMENTED, VERSIONS, 0).outcome == "can't tell"
    alone = segments_gate([replace(rows, current_scores=None)], SEGMENTED, VERSIONS, 0)
    assert alone.outcome == "can't tell"
    assert alone.message == "Version 3 has no scores to compare with."
    unknown = segments_gate([replace(rows, segments={})], SEGMENTED, VERSIONS, 0)
    assert unknown.outcome == "can't tell"
    assert SENIOR in unknown.message


# Stability


def scored(candidate: Any, current: Any) -> ScoredPair:
    return ScoredPair(
        (candidate > 0.5).astype(np.int64), (current > 0.5).astype(np.int64), candidate, current
    )


def test_stability_is_shown_always_and_stops_beyond_a_bound() -> None:
    current = np.linspace(0, 1, 1000)
    candidate = np.clip(current + 0.05, 0, 1)
    shown = stability_gate(scored(candidate, current), Gates(), VERSIONS)
    assert shown.outcome == "passed"
    assert "50 of 1,000 entities (5.0%) get another label, 50 of them true" in shown.message
    for gates in (Gates(changed_labels=0.04), Gates(score_shift=0.001)):
        found = stability_gate(scored(candidate, current), gates, VERSIONS)
        assert found.outcome == "failed"
        assert found.figures["changed_share"] == 0.05
    wide = Gates(changed_labels=0.05, score_shift=0.5)
    assert stability_gate(scored(candidate, current), wide, VERSIONS).outcome == "passed"


def test_stability_without_anybody_to_score() -> None:
    nobody = np.empty(0)
    bound = Gates(changed_labels=0.1)
    assert stability_gate(None, bound, FIRST).outcome == "passed"
    assert stability_gate(None, Gates(), VERSIONS).outcome == "passed"
    assert stability_gate(None, bound, VERSIONS).outcome == "can't tell"
    assert stability_gate(scored(nobody, nobody), bound, VERSIONS).outcome == "can't tell"


# Latency


def timings(one_row: float, thousand_rows: float, times: int = 20) -> Timings:
    noise = np.linspace(0.9, 1.1, times)
    return Timings(one_row * noise, thousand_rows * noise)


@pytest.mark.parametrize(
    ("candidate", "current", "outcome", "said"),
    [
        ((0.1, 15), (0.1, 15), "passed", "1 row in 0.10 ms (version 3: 0.10 ms)"),
        ((1.0, 150), (0.1, 15), "failed", "1,000 rows take 10.0 times as long as with version 3"),
        ((0.2, 150), (0.1, 15), "failed", "5 times is allowed"),
        ((0.1, 15), (0.01, 0.1), "passed", ""),  # many times slower, and quick all the same
        ((12, 15), None, "failed", "1 row may take 10 ms"),
        ((5, 501), None, "failed", "1,000 rows may take 500 ms"),
        ((5, 499), None, "passed", "Version 4 scores 1 row in 5.00 ms and 1,000 rows in 499.00"),
    ],
)
def test_latency(
    candidate: tuple[float, float], current: tuple[float, float] | None, outcome: str, said: str
) -> None:
    found = latency_gate(
        timings(*candidate), timings(*current) if current else None, Gates(), VERSIONS
    )
    assert found.outcome == outcome
    assert said in found.message


def test_latency_without_bounds_or_timings() -> None:
    none = Gates(one_row_ms=None, thousand_rows_ms=None, latency_ratio=None)
    assert latency_gate(timings(99, 9999), timings(1, 1), none, VERSIONS).outcome == "passed"
    assert latency_gate(timings(1, 1, times=4), None, Gates(), VERSIONS).outcome == "can't tell"


# Servable, re-created, approval


@pytest.mark.parametrize(
    ("facts", "outcome", "said"),
    [
        (Servable(proved_rows=1761), "passed", "the estimator's on 1,761 rows"),
        (Servable(("leak isn't in churn_v1",), proved_rows=9), "failed", "leak isn't in churn_v1"),
        (Servable(load_problem="no such file", proved_rows=9), "failed", "no such file"),
        (Servable(proved_rows=90, different_rows=10), "failed", "on 10 of 100 rows"),
        (Servable(unknown="the store doesn't answer", proved_rows=9), "can't tell", "the store"),
        (Servable(), "can't tell", "No proof is recorded"),
    ],
)
def test_servable(facts: Servable, outcome: str, said: str) -> None:
    found = servable_gate(facts, VERSIONS)
    assert found.outcome == outcome
    assert said in found.message


@pytest.mark.parametrize(
    ("verdict", "required", "shown"),
    [
        ("identical", "passed", "passed"),
        ("different", "failed", "passed"),
        ("can't tell", "can't tell", "passed"),
        (None, "can't tell", "passed"),
    ],
)
def test_recreated(verdict: Any, required: str, shown: str) -> None:
    facts = Recreation("abc", verdict, "The randomness moved." if verdict == "different" else "", 7)
    assert recreated_gate(facts, "require", VERSIONS).outcome == required
    assert recreated_gate(facts, "show", VERSIONS).outcome == shown
    if verdict == "different":
        found = recreated_gate(facts, "require", VERSIONS)
        assert "The randomness moved. It took 7.0 s now." in found.message
        assert "`streamflow reproduce abc`" in found.what_to_do


@pytest.mark.parametrize(
    ("approvers", "trained_by", "promoter", "outcome"),
    [
        ((), "ann", "ann", "failed"),
        (("ann",), "ann", "bob", "failed"),
        (("bob",), "ann", "bob", "failed"),
        (("ann", "bob"), "ann", "bob", "failed"),
        (("cy",), "ann", "bob", "passed"),
        (("ann", "cy"), "ann", "ann", "passed"),
        (("cy",), None, "bob", "passed"),
        (("cy",), "ann", None, "passed"),
    ],
)
def test_approval_is_a_second_persons(
    approvers: tuple[str, ...], trained_by: str | None, promoter: str | None, outcome: str
) -> None:
    approvals = [Approval(who, "it is better") for who in approvers]
    found = approval_gate(True, approvals, trained_by, promoter, VERSIONS)
    assert found.outcome == outcome
    if outcome == "failed":
        assert "`streamflow approve 4 --why TEXT`" in found.what_to_do
    assert approval_gate(False, approvals, trained_by, promoter, VERSIONS).outcome == "passed"


# All together


def every_result() -> list[GateResult]:
    rows, bad = with_seniors(0, NOISE, 2000), with_seniors(1, 4.0, 2000)
    return [
        servable_gate(Servable(proved_rows=9), VERSIONS),
        servable_gate(Servable(), VERSIONS),
        recreated_gate(Recreation("abc", "identical"), "require", VERSIONS),
        recreated_gate(Recreation("abc", None), "require", VERSIONS),
        *(quality(one, gates=SEGMENTED) for one in (rows, bad, pair(0, 20))),
        *(calibration_gate([one], Gates(), VERSIONS, 0) for one in (rows, pair(0, 20))),
        *(segments_gate([one], SEGMENTED, VERSIONS, 0) for one in (rows, bad)),
        stability_gate(scored(rows.labels * 1.0, rows.labels * 0.9), Gates(), VERSIONS),
        latency_gate(timings(1, 2), timings(1, 2), Gates(), VERSIONS),
        latency_gate(timings(100, 2), None, Gates(), VERSIONS),
        approval_gate(True, [], "ann", "bob", VERSIONS),
    ]


def test_what_stops_says_what_to_do_and_all_is_json_in_whole_sentences() -> None:
    found = every_result()
    assert {one.gate for one in found} == set(GATES)
    for one in found:
        assert json.loads(json.dumps(one.as_dict(), allow_nan=False))["gate"] == one.gate
        for text in filter(None, (one.message, one.what_to_do)):
            assert text[0].isupper(), text
            assert text.endswith("."), text
            assert "  " not in text, text
        assert bool(one.what_to_do) is not one.passed


def test_a_report_is_stopped_by_what_isnt_overridden() -> None:
    results = (
        GateResult("quality", "failed", "Worse."),
        GateResult("calibration", "can't tell", "Too few."),
        GateResult("latency", "passed", "Quick."),
    )
    report = GateReport(4, 3, results, {"quality": "the month was odd", "latency": "no need"})
    assert [one.gate for one in report.stopped_by] == ["calibration"]
    assert [one.gate for one in report.overridden] == ["quality"]
    assert not report.passed
    assert report.as_dict()["gates"][0]["override"] == "the month was odd"
    both = replace(report, overrides={"quality": "odd", "calibration": "odd"})
    assert both.passed


def test_the_same_facts_give_the_same_result() -> None:
    rows = with_seniors(3, NOISE, 1200)
    assert quality(rows) == quality(rows)
    assert calibration_gate([rows], Gates(), VERSIONS, 1) == calibration_gate(
        [rows], Gates(), VERSIONS, 1
    )
    assert compare(rows.labels, rows.candidate_scores, None, None, 1) == compare(
        rows.labels, rows.candidate_scores, None, None, 1
    )
    assert share(np.zeros(1)) == 0.5
