"""How far scores are from the shares of true labels that they promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamflow.training.rows.entities import numbered
from streamflow.training.served_model import Labels, Matrix
from streamflow.training.statistics.comparison import Interval
from streamflow.training.statistics.resamples import unstratified_resamples

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """How well scores are calibrated on some rows.

    `error` is the expected calibration error as a root mean square over ten bins, without what
    chance adds, and its 95 % interval. `plain_error` is the mean of absolute differences, as most
    tools have it, with what chance adds. `brier` is the mean squared difference of score and label.
    `mean_score` is to be compared with `share_true`.
    """

    error: Interval
    plain_error: float
    brier: float
    mean_score: float
    share_true: float


def calibration(
    labels: Labels, scores: Matrix, entities: Sequence[str] | None, random_state: int
) -> Calibration:
    """The calibration of scores (rows,), probabilities of 1, on rows with labels (0 or 1).

    Rows are put into ten bins of as many rows each, by their score; equal scores are in one bin. In
    each bin the mean score is compared with the share of true labels. That difference is chance in
    part: its square is too high by its variance, on average, which is subtracted (Kumar, Liang and
    Ma, 2019, "Verified uncertainty calibration", NeurIPS). The interval is the percentiles over
    1,000 resamples of the rows (of the entities, where one has several rows), to whose squares
    chance adds the variance twice. What cancels within a bin isn't seen.
    """
    bin_of_row, bins = _bins(scores)
    residuals = scores - labels
    rows = np.bincount(bin_of_row, minlength=bins)
    sums = np.bincount(bin_of_row, residuals, minlength=bins)
    square = float(np.sum(sums**2 / rows)) / len(labels)
    by_chance = _variance(residuals, entities, bin_of_row, rows, sums / rows)
    drawn = np.array(
        [
            _mean_square(bin_of_row, bins, residuals, times)
            for times in unstratified_resamples(len(labels), entities, random_state)
        ]
    )
    low, high = np.percentile(drawn, [2.5, 97.5]) - 2 * by_chance
    return Calibration(
        error=Interval(
            value=_root(square - by_chance),
            low=_root(low),
            high=max(_root(high), _root(square - by_chance)),
            standard_error=float(np.std(np.sqrt(np.maximum(drawn - 2 * by_chance, 0)))),
        ),
        plain_error=float(np.sum(np.abs(sums))) / len(labels),
        brier=float(np.mean(residuals**2)),
        mean_score=float(np.mean(scores)),
        share_true=float(np.mean(labels)),
    )


def _bins(scores: Matrix) -> tuple[npt.NDArray[np.int64], int]:
    """The bin of each row, none of which is empty."""
    edges = np.quantile(scores, np.linspace(0, 1, BINS + 1)[1:-1], method="lower")
    bins, bin_of_row = np.unique(np.searchsorted(edges, scores, "left"), return_inverse=True)
    return bin_of_row, len(bins)


def _variance(
    residuals: Matrix,
    entities: Sequence[str] | None,
    bin_of_row: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    means: npt.NDArray[np.float64],
) -> float:
    """The variance of the bins' mean residuals, weighted by their rows; rows of one entity aren't
    independent. A bin whose rows are of one entity says nothing of its variance."""
    bins = len(rows)
    entity_of_row = np.arange(len(residuals))
    if entities is not None:
        _, entity_of_row = numbered(entities)
    pairs, pair_of_row = np.unique(entity_of_row * bins + bin_of_row, return_inverse=True)
    sums = np.bincount(pair_of_row, residuals - means[bin_of_row])
    squares = np.bincount(pairs % bins, sums**2, minlength=bins)
    clusters = np.bincount(pairs % bins, minlength=bins)
    small = np.where(clusters > 1, clusters / np.maximum(clusters - 1, 1), 1)
    return float(np.sum(squares * small / rows) / len(residuals))


def _mean_square(
    bin_of_row: npt.NDArray[np.int64],
    bins: int,
    residuals: Matrix,
    times: npt.NDArray[np.int64],
) -> float:
    rows = np.bincount(bin_of_row, times, minlength=bins)
    sums = np.bincount(bin_of_row, times * residuals, minlength=bins)
    return float(np.sum(sums**2 / np.maximum(rows, 1)) / np.sum(times))


def _root(square: float) -> float:
    return float(np.sqrt(max(square, 0.0)))
