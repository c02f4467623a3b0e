"""The figures of scores with their labels, as exact as training has them, of any number of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streamflow.training.evaluation import FEWEST_OF_A_CLASS, Evaluation, evaluate
from streamflow.training.served_model import Labels, Matrix

# Up to so many rows the interval is training's, over resamples; of more, resamples take minutes.
MOST_RESAMPLED = 20_000
# Training's metrics are computed in the same way, whichever the platform.
_SMALLEST = float(np.finfo(np.float64).eps)
# Half the width of a 95 % interval, in standard errors.
HALF = 1.959963984540054


@dataclass(frozen=True)
class Segments:
    """By row the number of its value among `names`: (rows,)."""

    names: Sequence[str]
    codes: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Scored:
    """Scores of entities: probabilities of 1, and the model's own labels (0 or 1), (rows,) each.

    `labels` are the true ones, None where they aren't known. `segments` are by column.
    """

    probabilities: Matrix
    predictions: Labels
    labels: Labels | None = None
    segments: Mapping[str, Segments] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many entities there are."""
        return len(self.probabilities)

    def at(self, chosen: npt.NDArray[np.bool_]) -> Scored:
        """The chosen rows, without segments."""
        labels = None if self.labels is None else self.labels[chosen]
        return Scored(self.probabilities[chosen], self.predictions[chosen], labels)


@dataclass(frozen=True)
class Ranking:
    """An AUC with its standard error."""

    auc: float
    standard_error: float


def ranking(probabilities: Matrix, true: Matrix, false: Matrix) -> Ranking:
    """The AUC of rows that are `true` or `false` with these weights: (rows,) each.

    The weights are 1 and 0 where labels are known, else probabilities. The standard error is that
    of DeLong, DeLong and Clarke-Pearson (1988), "Comparing the areas under two or more correlated
    receiver operating characteristic curves", Biometrics 44. A tie counts half; a row isn't
    compared with itself.
    """
    _, group = np.unique(probabilities, return_inverse=True)
    positives, negatives = _sums(group, true), _sums(group, false)
    itself = float(np.sum(true * false))
    all_positives, all_negatives = float(positives.sum()), float(negatives.sum())
    below = np.cumsum(negatives) - negatives / 2
    above = all_positives - np.cumsum(positives) + positives / 2
    won = float(np.sum(positives * below)) - itself / 2
    auc = won / (all_positives * all_negatives - itself)

    def variance(weights: Matrix, values: Matrix, total: float) -> float:
        squares = float(np.sum(weights * (values - auc) ** 2))
        return squares / max(total - 1, 1) / max(total, 1)

    error = variance(positives, below / all_negatives, all_positives) + variance(
        negatives, above / all_positives, all_negatives
    )
    return Ranking(auc, float(np.sqrt(error)))


def _sums(group: npt.NDArray[np.int64], weights: Matrix) -> Matrix:
    sums: Matrix = np.bincount(group, weights).astype(np.float64)
    return sums


def measured(scored: Scored, random_state: int) -> Evaluation | None:
    """The figures of scores with labels; None with fewer than ten rows of a label.

    Of up to 20,000 rows they are training's, with its interval; of more, the interval is that of
    the normal distribution with DeLong's standard error.
    """
    labels = scored.labels
    assert labels is not None
    positives = int(labels.sum())
    if min(positives, scored.rows - positives) < FEWEST_OF_A_CLASS:
        return None
    if scored.rows <= MOST_RESAMPLED:
        return evaluate(labels, scored.predictions, scored.probabilities, random_state)
    true = labels.astype(np.float64)
    ranked = ranking(scored.probabilities, true, 1 - true)
    return _evaluation(scored, true, ranked)


def expected(scored: Scored, shares: Matrix) -> tuple[Evaluation, Ranking]:
    """The figures that are expected of scores if each row is true with its probability in
    `shares`: (rows,). The interval is that within which the AUC is to be expected, by DeLong's
    standard error."""
    ranked = ranking(scored.probabilities, shares, 1 - shares)
    return _evaluation(scored, shares, ranked), ranked


def _evaluation(scored: Scored, true: Matrix, ranked: Ranking) -> Evaluation:
    scores, labels = scored.probabilities, scored.predictions
    clipped = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    found = float(np.sum(true * labels))
    wrong = float(np.sum((1 - true) * labels))
    missed = float(np.sum(true * (1 - labels)))
    rows = scored.rows
    return Evaluation(
        auc=ranked.auc,
        auc_low=max(0.0, ranked.auc - HALF * ranked.standard_error),
        auc_high=min(1.0, ranked.auc + HALF * ranked.standard_error),
        f1=2 * found / (2 * found + wrong + missed) if found + wrong + missed else 0.0,
        accuracy=1 - (wrong + missed) / rows,
        average_precision=_average_precision(scores, true),
        log_loss=float(-np.mean(true * np.log(clipped) + (1 - true) * np.log(1 - clipped))),
        brier=float(np.mean(true * (1 - scores) ** 2 + (1 - true) * scores**2)),
    )


def _average_precision(scores: Matrix, true: Matrix) -> float:
    _, group = np.unique(-scores, return_inverse=True)
    positives, rows = np.bincount(group, true), np.bincount(group)
    precision = np.cumsum(positives) / np.cumsum(rows)
    return float(np.sum(positives * precision) / positives.sum())
