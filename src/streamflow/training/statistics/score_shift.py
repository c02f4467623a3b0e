"""How far the scores of a population have moved."""

from __future__ import annotations

import numpy as np

from streamflow.training.served_model import Matrix

BINS = 10


def population_stability_index(before: Matrix, after: Matrix) -> float:
    """The population stability index of scores `after` against those `before`: (rows,), (rows,).

    The bins are tenths of the scores before; equal scores are in one bin, and where there are few
    distinct ones, there are fewer bins. The index is the sum of (a - b) ln(a / b) over the bins'
    shares. Half a row is added to each bin, so that an empty one counts as rare and not as
    infinite. By rule of thumb, 0.1 is a shift and 0.25 a large one (Siddiqi, 2006, "Credit Risk
    Scorecards").
    """
    edges = np.unique(np.quantile(before, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
    bins = len(edges) + 1
    share = [
        (np.bincount(np.searchsorted(edges, scores, side="left"), minlength=bins) + 0.5)
        / (len(scores) + 0.5 * bins)
        for scores in (before, after)
    ]
    return float(np.sum((share[1] - share[0]) * np.log(share[1] / share[0])))
