"""What is expected of scores before labels are there, beside what comes true."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from tests import simulated_scores

from streamflow.monitoring.statistics.estimate import Calibrator, calibrator, estimate
from streamflow.monitoring.statistics.scored import Scored, expected, measured, ranking
from streamflow.training.evaluation import evaluate

LONG = bool(os.environ.get("STREAMFLOW_LONG_TESTS"))
AS_IT_IS = Calibrator(0.0, 1.0, 0, False)


def month(seed: int, rows: int, noise: float = simulated_scores.NOISE, more: float = 0) -> Scored:
    """A month of a calibrated model; `more` moves what it sees, and with it what is true."""
    random = np.random.default_rng(seed)
    log_odds = random.normal(simulated_scores.BASE + more, simulated_scores.SPREAD, rows)
    labels = (random.random(rows) < simulated_scores.share(log_odds)).astype(np.int64)
    # The prior of the model is that of the months it learned from.
    scores = simulated_scores.model(random, log_odds, noise)
    return Scored(scores, (scores > 0.5).astype(np.int64), labels)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(30, 400), st.integers(2, 60))
def test_figures_of_many_rows_are_those_of_training(seed: int, rows: int, values: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, values + 1, rows) / values
    labels = (random.random(rows) < scores).astype(np.int64)
    predictions = (scores > 0.5).astype(np.int64)
    if len(set(labels.tolist())) < 2:
        return
    ours, _ = expected(Scored(scores, predictions), labels.astype(np.float64))
    theirs = evaluate(labels, predictions, scores, 0)
    for name in ("auc", "f1", "accuracy", "average_precision", "log_loss", "brier"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=1e-9), name


def test_the_error_of_an_area_is_the_one_of_delong_et_al() -> None:
    """By their definition: the variances of each row's part in the area."""
    scored = month(3, 500)
    assert scored.labels is not None
    high, low = (scored.probabilities[scored.labels == one] for one in (1, 0))
    won = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    error = np.sqrt(
        np.var(won.mean(1), ddof=1) / len(high) + np.var(won.mean(0), ddof=1) / len(low)
    )
    found = ranking(scored.probabilities, scored.labels.astype(float), 1.0 - scored.labels)
    assert found.auc == pytest.approx(metrics.roc_auc_score(scored.labels, scored.probabilities))
    assert found.standard_error == pytest.approx(error, abs=1e-9)


def test_the_interval_of_many_rows_is_near_that_of_resamples() -> None:
    scored = month(5, 20_001)
    assert scored.labels is not None
    many = measured(scored, 0)
    few = evaluate(scored.labels, scored.predictions, scored.probabilities, 0)
    assert many is not None
    assert many.auc == pytest.approx(few.auc, abs=1e-9)
    assert many.auc_high - many.auc_low == pytest.approx(few.auc_high - few.auc_low, rel=0.1)
    assert many.auc_low == pytest.approx(few.auc_low, abs=0.002)


def test_a_row_is_not_compared_with_itself() -> None:
    """Each labelling of four rows, weighed by its probability."""
    scores = np.array([0.2, 0.5, 0.5, 0.9])
    pairs = won = 0.0
    for labels in np.ndindex(2, 2, 2, 2):
        weight = float(np.prod(np.where(np.array(labels) == 1, scores, 1 - scores)))
        for one in range(4):
            for other in range(4):
                if labels[one] and not labels[other]:
                    pairs += weight
                    won += weight * (
                        (scores[one] > scores[other]) + 0.5 * (scores[one] == scores[other])
                    )
    assert ranking(scores, scores, 1 - scores).auc == pytest.approx(won / pairs, abs=1e-12)


@pytest.mark.parametrize("more", [0.0, 0.6], ids=["as before", "another population"])
def test_the_estimate_is_in_the_interval_of_what_comes_true(more: float) -> None:
    months = 100 if LONG else 20
    within = 0
    for seed in range(months):
        # What validated the model, and the months since whose labels have matured.
        known = month(1_000 + seed, 12_000)
        assert known.labels is not None
        calibrated = calibrator(known.probabilities, known.labels)
        assert calibrated is not None
        # Another population, the same rule: scores without noise stay calibrated.
        now = month(seed, 2_000, noise=1e-6 if more else simulated_scores.NOISE, more=more)
        if more:
            calibrated = AS_IT_IS
        estimated, real = estimate(now, calibrated), measured(now, 0)
        assert estimated is not None
        assert real is not None
        within += real.auc_low <= estimated.figures.auc <= real.auc_high
    assert within >= (0.9 if LONG else 0.7) * months


def test_scores_that_are_off_are_calibrated_first() -> None:
    known, now = month(1, 20_000), month(2, 10_000)
    assert known.labels is not None

    def sharpened(
        scores: np.ndarray[tuple[int], np.dtype[np.float64]],
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        odds = 2 * np.log(scores / (1 - scores)) + 1
        return 1 / (1 + np.exp(-odds))

    calibrated = calibrator(sharpened(known.probabilities), known.labels)
    assert calibrated is not None
    assert calibrated.needed
    assert calibrated.slope == pytest.approx(0.5, abs=0.05)
    wrong = Scored(sharpened(now.probabilities), now.predictions, now.labels)
    estimated, real = estimate(wrong, calibrated), measured(wrong, 0)
    assert estimated is not None
    assert real is not None
    assert estimated.figures.auc == pytest.approx(real.auc, abs=0.02)
    assert estimated.share_true == pytest.approx(float(np.mean(now.labels)), abs=0.02)


def test_scores_that_are_right_stay_as_they_are() -> None:
    needed = 0
    for seed in range(40):
        known = month(seed, 3_000)
        assert known.labels is not None
        calibrated = calibrator(known.probabilities, known.labels)
        needed += calibrated is None or calibrated.needed
    assert needed <= 8


def test_another_rule_is_not_seen_by_an_estimate() -> None:
    now = month(4, 5_000)
    assert now.labels is not None
    flipped = Scored(now.probabilities, now.predictions, 1 - now.labels)
    estimated, real = estimate(flipped, AS_IT_IS), measured(flipped, 0)
    assert estimated is not None
    assert real is not None
    assert estimated.figures.auc > 0.75
    assert real.auc < 0.25


def test_few_rows_say_nothing() -> None:
    few = month(1, 12)
    assert few.labels is not None
    assert measured(few, 0) is None
    assert calibrator(few.probabilities, few.labels) is None
    assert estimate(few, AS_IT_IS) is None
