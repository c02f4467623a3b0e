"""How good a model is likely to be before labels are there, from calibrated probabilities.

Confidence-based performance estimation: a score that is calibrated says how likely its row is true,
so that the figures can be expected without labels (Białek, Kuberski, Perrakis and Bifet, 2024,
"Estimating model performance under covariate shift without labels", arXiv 2401.08348; NannyML has
it as CBPE).

It assumes that the scores are calibrated and stay so: what the model reads may be distributed in
another way, and what is true at the same features may not change. It can't see that such a rule has
changed. It says nothing of rows unlike those that it was calibrated on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamflow.monitoring.statistics.scored import Scored, expected
from streamflow.training.evaluation import FEWEST_OF_A_CLASS, Evaluation
from streamflow.training.served_model import Labels, Matrix

# Scores of 0 and 1 have no log-odds.
_SMALLEST = 1e-3
# Scores are recalibrated if chance would seldom make them so far off.
_LEVEL = 0.05
_STEPS = 50


@dataclass(frozen=True)
class Calibrator:
    """The log-odds of being true are `offset` + `slope` times those of the score.

    `rows` were behind it; `needed` says whether the scores themselves would be off, else offset is
    0 and slope 1.
    """

    offset: float
    slope: float
    rows: int
    needed: bool

    def shares(self, scores: Matrix) -> Matrix:
        """The probability of each row that it is true: (rows,). Scores that already are that stay
        as they are."""
        if not self.needed:
            return scores
        return _logistic(self.offset + self.slope * _log_odds(scores))


@dataclass(frozen=True)
class Estimate:
    """The figures that are expected, and within which interval the AUC. `share_true` is the share
    of true labels that is expected."""

    figures: Evaluation
    standard_error: float
    share_true: float


def calibrator(scores: Matrix, labels: Labels) -> Calibrator | None:
    """A calibrator from rows that the model wasn't fitted to: (rows,) each.

    Logistic regression on the log-odds (Platt, 1999, "Probabilistic outputs for support vector
    machines"). The scores stay as they are unless a likelihood-ratio test says that they are off,
    because each fitted number adds to the error of an estimate. None with fewer than ten rows of a
    label.
    """
    from scipy.stats import chi2

    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < FEWEST_OF_A_CLASS:
        return None
    odds = _log_odds(scores)
    design = np.stack([np.ones_like(odds), odds], axis=1)
    weights = np.array([0.0, 1.0])
    for _ in range(_STEPS):  # Newton's method
        shares = _logistic(design @ weights)
        curvature = design.T @ (design * (shares * (1 - shares))[:, None])
        step = np.linalg.lstsq(curvature, design.T @ (labels - shares), rcond=None)[0]
        weights = weights + np.clip(step, -2, 2)
        if np.max(np.abs(step)) < 1e-10:
            break
    better = _likelihood(_logistic(design @ weights), labels) - _likelihood(_logistic(odds), labels)
    needed = bool(chi2.sf(max(2 * better, 0.0), 2) < _LEVEL) and weights[1] > 0
    if not needed:
        return Calibrator(0.0, 1.0, len(labels), False)
    return Calibrator(float(weights[0]), float(weights[1]), len(labels), True)


def estimate(scored: Scored, calibrated: Calibrator) -> Estimate | None:
    """What is expected of the scores; None if fewer than ten rows of a label are expected."""
    shares = calibrated.shares(scored.probabilities)
    positives = float(shares.sum())
    if min(positives, scored.rows - positives) < FEWEST_OF_A_CLASS:
        return None
    figures, ranked = expected(scored, shares)
    return Estimate(figures, ranked.standard_error, positives / scored.rows)


def _log_odds(scores: Matrix) -> Matrix:
    clipped = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    odds: Matrix = np.log(clipped / (1 - clipped))
    return odds


def _logistic(odds: Matrix) -> Matrix:
    shares: Matrix = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
    return shares


def _likelihood(shares: Matrix, labels: Labels) -> float:
    return float(np.sum(np.log(np.where(labels == 1, shares, 1 - shares))))
