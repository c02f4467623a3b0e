"""Figures and their intervals, against scikit-learn, SciPy and sums written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulated_scores import model, pair, population, share

from streamflow.training.statistics import resamples
from streamflow.training.statistics.calibration import calibration
from streamflow.training.statistics.comparison import Interval, calibration_shift, compare
from streamflow.training.statistics.ranked_scores import RankedScores
from streamflow.training.statistics.score_shift import population_stability_index

Pair = tuple[Any, Any]


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resamples, "RESAMPLES", 60)


@st.composite
def counted_rows(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    """Labels, scores with ties, and how often each row counts, 0 included."""
    rows = draw(st.integers(1, 12))
    column = st.lists(st.integers(0, 4), min_size=rows, max_size=rows)
    labels = np.array(draw(column)) % 2
    return labels, np.array(draw(column)) / 4, np.array(draw(column))


@given(rows=counted_rows())
def test_figures_of_counted_rows_are_those_of_the_repeated_rows(rows: tuple[Any, Any, Any]) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    labels, scores, times = rows
    counted = RankedScores(labels, scores).counted(times)
    repeated, repeated_scores = np.repeat(labels, times), np.repeat(scores, times)
    if len(set(repeated.tolist())) == 2:
        assert counted.auc == pytest.approx(roc_auc_score(repeated, repeated_scores), abs=1e-12)
    else:
        assert counted.auc is None
    if 1 in repeated:
        expected = average_precision_score(repeated, repeated_scores)
        assert counted.average_precision == pytest.approx(expected, abs=1e-12)
    else:
        assert counted.average_precision is None


@given(labels=st.lists(st.integers(0, 1), min_size=1, max_size=30), seed=st.integers(0, 9))
def test_a_resample_has_as_many_rows_of_each_label(labels: list[int], seed: int) -> None:
    given_ = np.array(labels)
    times = next(resamples.resamples(given_, None, seed))
    assert times[given_ == 1].sum() == (given_ == 1).sum()
    assert times[given_ == 0].sum() == (given_ == 0).sum()


def test_an_entity_is_drawn_with_all_its_rows() -> None:
    entities = [f"e{row % 40}" for row in range(100)]
    labels = np.arange(100) % 2
    for drawn in (
        resamples.resamples(labels, entities, 1),
        resamples.unstratified_resamples(100, entities, 1),
    ):
        times = next(drawn)
        assert len(set(times.tolist())) > 1
        assert {len({times[row] for row in range(start, 100, 40)}) for start in range(40)} == {1}


def test_the_interval_of_a_difference_is_that_of_the_repeated_rows(few_resamples: None) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    rows = pair(3, 200)
    assert rows.current_scores is not None
    found = compare(rows.labels, rows.candidate_scores, rows.current_scores, None, 7)
    differences: dict[str, list[float]] = {"auc": [], "average_precision": []}
    metrics = {"auc": roc_auc_score, "average_precision": average_precision_score}
    for times in resamples.resamples(rows.labels, None, 7):
        drawn = np.repeat(np.arange(200), times)
        for figure, metric in metrics.items():
            of_each = [
                metric(rows.labels[drawn], scores[drawn])
                for scores in (rows.candidate_scores, rows.current_scores)
            ]
            differences[figure].append(of_each[0] - of_each[1])
    for figure, drawn_differences in differences.items():
        difference = found[figure].difference
        assert difference is not None
        expected = np.percentile(drawn_differences, [2.5, 97.5])
        assert (difference.low, difference.high) == pytest.approx(tuple(expected), abs=1e-12)
        metric = metrics[figure]
        assert difference.value == pytest.approx(
            metric(rows.labels, rows.candidate_scores) - metric(rows.labels, rows.current_scores)
        )


def test_the_standard_error_is_that_of_delong() -> None:
    """DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44, 837-845, written out."""
    rows = pair(4, 1500)
    assert rows.current_scores is not None
    won, is_positive = [], rows.labels == 1
    for scores in (rows.candidate_scores, rows.current_scores):
        high, low = scores[is_positive, None], scores[None, ~is_positive]
        won.append((high > low) + 0.5 * (high == low))
    gained = won[0] - won[1]
    of_positives, of_negatives = gained.mean(axis=1), gained.mean(axis=0)
    variance = np.var(of_positives, ddof=1) / len(of_positives)
    variance += np.var(of_negatives, ddof=1) / len(of_negatives)
    found = compare(rows.labels, rows.candidate_scores, rows.current_scores, None, 0)["auc"]
    assert found.difference is not None
    assert found.difference.standard_error == pytest.approx(np.sqrt(variance), rel=0.1)


def test_a_model_doesnt_differ_from_itself() -> None:
    rows = pair(5, 300)
    for one in compare(rows.labels, rows.candidate_scores, rows.candidate_scores, None, 0).values():
        assert one.difference == Interval(0.0, 0.0, 0.0, 0.0)
        assert one.candidate == one.current


def test_without_a_current_model_there_is_no_difference(few_resamples: None) -> None:
    rows = pair(5, 300)
    found = compare(rows.labels, rows.candidate_scores, None, None, 0)["auc"]
    assert found.current is None
    assert found.difference is None
    assert found.candidate.low < found.candidate.value < found.candidate.high


def test_rows_of_one_entity_are_no_independent_rows() -> None:
    rows = pair(6, 400)
    times = 4
    entities = [str(row) for row in range(400)] * times
    repeated = [
        np.tile(one, times)
        for one in (rows.labels, rows.candidate_scores, rows.current_scores)
        if one is not None
    ]
    once = compare(rows.labels, rows.candidate_scores, rows.current_scores, None, 0)["auc"]
    clustered = compare(*repeated, entities, 0)["auc"]
    alone = compare(*repeated, None, 0)["auc"]
    assert once.difference is not None
    assert clustered.difference is not None
    assert alone.difference is not None
    assert clustered.difference.width == pytest.approx(once.difference.width, rel=0.15)
    assert alone.difference.width == pytest.approx(once.difference.width / 2, rel=0.15)


def test_an_interval_at_another_level_is_that_of_the_normal_distribution() -> None:
    from scipy.stats import norm

    found = Interval(0.1, 0.0, 0.2, 0.05).at_level(0.01)
    assert (found.low, found.high) == pytest.approx(norm.interval(0.99, loc=0.1, scale=0.05))


def off_by(offset: float, seed: int, rows: int) -> Pair:
    """Labels and scores that are too high by the same everywhere."""
    random = np.random.default_rng(seed)
    scores = random.uniform(0.1, 0.7, rows)
    return (random.random(rows) < scores).astype(np.int64), scores + offset


def test_the_calibration_error_has_no_bias_of_binning(few_resamples: None) -> None:
    for rows in (60, 300):
        found = [calibration(*off_by(0.3, seed, rows), None, seed) for seed in range(400)]
        squares = np.array([one.error.value**2 for one in found])
        assert abs(squares.mean() - 0.3**2) < 3 * squares.std() / np.sqrt(400)
    # What most tools have is too high where a model is calibrated, the more so by fewer rows.
    plain = [calibration(*off_by(0, seed, 300), None, seed).plain_error for seed in range(50)]
    assert np.mean(plain) > 0.04


def test_the_interval_of_the_calibration_error_has_the_truth_in_it(few_resamples: None) -> None:
    for offset in (0.05, 0.1):
        found = [calibration(*off_by(offset, seed, 600), None, seed).error for seed in range(150)]
        covered = np.mean([one.low <= offset <= one.high for one in found])
        assert covered >= 0.88, offset
    right = [calibration(*off_by(0, seed, 600), None, seed).error for seed in range(100)]
    assert np.mean([one.low == 0 for one in right]) >= 0.95


def test_the_plain_error_is_the_mean_of_the_bins(few_resamples: None) -> None:
    labels, scores = off_by(0.1, 0, 500)
    order = np.argsort(scores)
    bins = [abs(labels[rows].mean() - scores[rows].mean()) for rows in np.array_split(order, 10)]
    found = calibration(labels, scores, None, 0)
    assert found.plain_error == pytest.approx(np.mean(bins), abs=1e-9)
    assert found.brier == pytest.approx(np.mean((scores - labels) ** 2), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_calibration_error_is_the_one_of_kumar_et_al(few_resamples: None, seed: int) -> None:
    """By its definition: each bin's square of the mean difference, without the variance of it."""
    labels, scores = off_by(0.1, seed, 500)
    square = 0.0
    for rows in np.array_split(np.argsort(scores), 10):
        differences = scores[rows] - labels[rows]
        by_chance = np.var(differences, ddof=1) / len(rows)
        square += len(rows) / len(labels) * (np.mean(differences) ** 2 - by_chance)
    found = calibration(labels, scores, None, 0).error
    assert found.value == pytest.approx(np.sqrt(max(square, 0)), abs=1e-9)


@given(seed=st.integers(0, 20), times=st.integers(2, 4), distinct=st.sampled_from([1, 3, 50]))
def test_repeated_rows_of_an_entity_say_nothing_new_of_calibration(
    seed: int, times: int, distinct: int
) -> None:
    labels, scores = off_by(0.05, seed, 60)
    scores = np.round(scores * distinct) / distinct
    entities = [str(row) for row in range(60)] * times
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resamples, "RESAMPLES", 2)
        once = calibration(labels, scores, None, 0)
        again = calibration(np.tile(labels, times), np.tile(scores, times), entities, 0)
    assert again.error.value == pytest.approx(once.error.value, abs=1e-9)


def test_a_shift_of_the_mean_score_is_the_candidates_distance_minus_the_currents() -> None:
    random = np.random.default_rng(0)
    log_odds, labels = population(random, 2000)
    current = model(random, log_odds)
    found = calibration_shift(labels, np.clip(current + 0.1, 0, 1), current, None, 0)
    away = [
        abs(scores.mean() - labels.mean()) for scores in (np.clip(current + 0.1, 0, 1), current)
    ]
    assert found.value == pytest.approx(away[0] - away[1])
    assert found.low > 0
    assert calibration_shift(labels, current, current, None, 0) == Interval(0, 0, 0, 0)


@given(
    before=st.lists(st.integers(0, 20), min_size=1, max_size=60),
    after=st.lists(st.integers(0, 20), min_size=1, max_size=60),
)
def test_the_population_stability_index_is_the_sum_over_tenths(
    before: list[int], after: list[int]
) -> None:
    edges = sorted({sorted(before)[(len(before) - 1) * tenth // 10] for tenth in range(1, 10)})
    expected = 0.0
    for low, high in zip([-np.inf, *edges], [*edges, np.inf], strict=True):
        shares = [
            (sum(low < score <= high for score in scores) + 0.5)
            / (len(scores) + 0.5 * (len(edges) + 1))
            for scores in (after, before)
        ]
        expected += (shares[0] - shares[1]) * np.log(shares[0] / shares[1])
    found = population_stability_index(np.array(before) / 20, np.array(after) / 20)
    assert found == pytest.approx(expected, abs=1e-9)
    assert population_stability_index(np.array(before) / 20, np.array(before) / 20) == 0


def test_a_shift_is_large_by_the_rule_of_thumb_where_the_odds_double() -> None:
    random = np.random.default_rng(0)
    log_odds, _ = population(random, 3000)
    scores = model(random, log_odds)
    doubled = share(np.log(scores / (1 - scores)) + np.log(2))
    assert 0.1 < population_stability_index(scores, doubled) < 0.5
    other = model(random, population(random, 3000)[0])
    assert population_stability_index(scores, other) < 0.02
