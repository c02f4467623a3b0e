"""On which rows versions are compared: how many would do, and how many are enough."""

from __future__ import annotations

from math import ceil, inf

import numpy as np

from streamflow.promotion.gates.judged_pair import JudgedPair
from streamflow.training.evaluation import FEWEST_OF_A_CLASS
from streamflow.training.statistics.comparison import Interval

# More rows make a comparison slower, and an interval narrower than any margin.
ENOUGH_ROWS, ENOUGH_OF_A_CLASS = 50_000, 2_000

# The standard error of the difference of two equal models, times the square root of the number of
# rows with the rarer label, as docs/decisions/0017 measured it. For where it can't be measured.
EXPECTED_ERROR = {"auc": 0.12, "average_precision": 0.25}


def rarer(pair: JudgedPair) -> tuple[int, str]:
    """How many rows have the label that fewer have, and that label in words."""
    few = pair.positives <= pair.negatives
    return (pair.positives, "true") if few else (pair.negatives, "false")


def too_few(pair: JudgedPair) -> bool:
    """Whether resamples of the rows would be too much alike to show what is due to chance."""
    return rarer(pair)[0] < FEWEST_OF_A_CLASS


def at_most_enough(pair: JudgedPair, random_state: int) -> JudgedPair:
    """The pair on a random part of its rows, if it has more than enough; entities stay whole."""
    share = max(ENOUGH_ROWS / pair.rows, ENOUGH_OF_A_CLASS / max(rarer(pair)[0], 1))
    if share >= 1:
        return pair
    unit = np.arange(pair.rows)
    if pair.entities is not None:
        _, unit = np.unique(np.asarray(pair.entities, dtype=object), return_inverse=True)
    kept = np.random.default_rng(random_state).random(unit.max() + 1) < share
    return pair.at(kept[unit])


def would_do(rows: int, difference: Interval, margin: float) -> float:
    """How many rows of the rarer label would show an equal version to be within the margin, if
    `rows` of them gave this interval of the difference; infinite where more rows don't help.

    The interval has to be no wider than the margin: its low end is then above it in 97.5 % of the
    cases, so that both figures are in 95 %.
    """
    if difference.width <= margin:
        return inf
    return ceil(rows * (difference.width / margin) ** 2)


def expected_to_do(figure: str, margin: float) -> int:
    """The same before anything was measured."""
    return ceil((2 * 1.96 * EXPECTED_ERROR[figure] / margin) ** 2)


def rounded(rows: float) -> str:
    """A number of rows with two digits that count, as 1,300 for 1,284, rounded up."""
    digits = max(len(str(int(rows))) - 2, 0)
    return f"{ceil(rows / 10**digits) * 10**digits:,}"
