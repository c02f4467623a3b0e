"""Explanations of scores that add up to them, and the refusal of those that don't."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamflow.reasons.forms.trees import LinearSum, Scale, ScoreSum, TreeSum, probabilities
from streamflow.reasons.shapley import (
    Question,
    base_value,
    linear_contributions,
    tree_contributions,
)
from streamflow.training.served_model import Matrix

# How far a sum of contributions may be from what it explains.
TOLERANCE = 1e-6

# The contributions of a sum of trees; (rows, features).
Contributions = Callable[[TreeSum, Question], Matrix]


@dataclass(frozen=True)
class Explanations:
    """Per row and feature the contribution to the row's score, on `scale`; (rows, features).

    `base` is the background's mean score. Rows that are `refused` (a boolean each) don't add up
    and must not be shown; `errors` are the distances of their sums from what they explain.
    """

    scale: Scale
    base: float
    contributions: Matrix
    refused: npt.NDArray[np.bool_]
    errors: Matrix


def explain(
    score: ScoreSum,
    question: Question,
    served: Matrix,
    of_trees: Contributions = tree_contributions,
) -> Explanations:
    """Explain rows whose served probabilities of 1 are `served`.

    A row is refused unless base and contributions add up, within `TOLERANCE`, to the sum that the
    served file describes (in log-odds, or as a probability), and that sum's probability is the
    served one.
    """
    if isinstance(score, LinearSum):
        contributions = linear_contributions(score, question)
    else:
        contributions = of_trees(score, question)
    base = base_value(score, question.background)
    sums = base + contributions.sum(axis=1)
    errors = np.maximum(
        np.abs(sums - score.values(question.rows)),
        np.abs(probabilities(score.scale, sums) - served),
    )
    return Explanations(
        scale=score.scale,
        base=base,
        contributions=contributions,
        # A NaN is no more than the tolerance either, and mustn't pass.
        refused=~(errors <= TOLERANCE),
        errors=errors,
    )


def strongest(contributions: Matrix, most: int) -> npt.NDArray[np.int64]:
    """Per row the numbers of the features with the greatest contributions, whatever their sign, in
    that order; the earlier feature where two are equal. Shape (rows, at most `most`)."""
    order = np.argsort(-np.abs(contributions), axis=1, kind="stable")
    found: npt.NDArray[np.int64] = order[:, :most]
    return found
