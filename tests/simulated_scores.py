"""Scores of models whose quality is known, because the labels are drawn from what they see.

Each row has a log-odds of being true, normal with the mean `BASE` and the standard deviation
`SPREAD`: 26 % are true. A model sees it through noise, and its score is the share of true labels
among rows that look the same to it, so that it is calibrated whatever its noise.
"""

from __future__ import annotations

import numpy as np

from streamflow.promotion.gates.judged_pair import JudgedPair
from streamflow.training.served_model import Labels, Matrix

BASE, SPREAD = -1.5, 1.6
# Two models with this noise are as alike as the forest and the logistic regression of the churn
# case: the standard error of their difference in AUC is 0.13 / sqrt(positives).
NOISE = 0.5
# The AUC of a model with this noise is lower by 0.04, twice the default margin.
NOISE_OF_TWICE_THE_MARGIN = 1.04


def share(log_odds: Matrix) -> Matrix:
    """The probability with these log-odds."""
    shares: Matrix = 1 / (1 + np.exp(-log_odds))
    return shares


def population(random: np.random.Generator, rows: int) -> tuple[Matrix, Labels]:
    """The log-odds and the labels of rows."""
    log_odds = random.normal(BASE, SPREAD, rows)
    return log_odds, (random.random(rows) < share(log_odds)).astype(np.int64)


def model(random: np.random.Generator, log_odds: Matrix, noise: float = NOISE) -> Matrix:
    """The scores of a model that sees the log-odds through noise."""
    seen = log_odds + random.normal(0, noise, len(log_odds))
    known = SPREAD**2 / (SPREAD**2 + noise**2)
    mean, variance = BASE + known * (seen - BASE), known * noise**2
    # The mean of a logistic function of a normal variable: MacKay (1992), "The evidence framework
    # applied to classification networks", Neural Computation 4, equation 10.
    return share(mean / np.sqrt(1 + np.pi * variance / 8))


def pair(seed: int, rows: int, noise: float = NOISE, source: str = "2024-03-31") -> JudgedPair:
    """A candidate with this noise, and the current model with the usual one, on the same rows."""
    random = np.random.default_rng(seed)
    log_odds, labels = population(random, rows)
    candidate, current = model(random, log_odds, noise), model(random, log_odds)
    return JudgedPair(source, labels, candidate, current)
