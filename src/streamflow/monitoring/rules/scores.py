"""The rules about the scores: their distribution, and the share of entities above the threshold."""

from __future__ import annotations

import numpy as np

from streamflow.monitoring.alarm import Alarm, Figure
from streamflow.monitoring.rules.compared import Compared
from streamflow.monitoring.rules.numbers import shift_alarm
from streamflow.monitoring.statistics.scored import Scored
from streamflow.monitoring.statistics.shift import BINS, Counts, shift
from streamflow.training.served_model import Matrix


def scores(reference: Scored, current: Scored, compared: Compared) -> tuple[Figure, list[Alarm]]:
    """The figures of the scores beside others by the same version, and the alarms about them."""
    edges = np.unique(
        np.quantile(reference.probabilities, np.linspace(0, 1, BINS + 1)[1:-1], method="lower")
    )
    before, after = (_counted(one.probabilities, edges) for one in (reference, current))
    moved = shift(before, after)
    above, above_before = (float(one.predictions.mean()) for one in (current, reference))
    figures = {
        "rows": current.rows,
        "rows_before": reference.rows,
        "psi": moved.psi,
        "psi_by_chance": moved.by_chance,
        "psi_standard_error": moved.standard_error,
        "p": moved.p,
        "jensen_shannon": moved.jensen_shannon,
        "edges": edges.tolist(),
        "shares": [(before / before.sum()).tolist(), (after / after.sum()).tolist()],
        "mean": float(current.probabilities.mean()),
        "mean_before": float(reference.probabilities.mean()),
        "above": above,
        "above_before": above_before,
    }
    words = f"; the mean score is {figures['mean']:.3f}, it was {figures['mean_before']:.3f}"
    bound = compared.bounds.score_shift
    alarms: list[Alarm] = []
    if bound is not None:
        alarms += shift_alarm("score", moved, compared, words, "score", bound)
    alarms += _above(above, above_before, reference.rows, current.rows, compared)
    return Figure("score", "score", compared.reference, figures), alarms


def _counted(scores: Matrix, edges: Matrix) -> Counts:
    placed = np.searchsorted(edges, scores, side="left")
    counts: Counts = np.bincount(placed, minlength=len(edges) + 1)
    return counts


def _above(
    share: float, before: float, rows_before: int, rows: int, compared: Compared
) -> list[Alarm]:
    from scipy.stats import norm

    bound = compared.bounds.share_above
    moved = share - before
    if bound is None or abs(moved) < bound:
        return []
    pooled = (share * rows + before * rows_before) / (rows + rows_before)
    error = np.sqrt(pooled * (1 - pooled) * (1 / rows + 1 / rows_before))
    if 2 * norm.sf(abs(moved) / error) > compared.level:
        return []
    return [
        compared.alarm(
            "share above",
            "score",
            "critical" if abs(moved) >= 2.5 * bound else "warning",
            abs(moved),
            bound,
            f"the label is 1 for {share:.1%} of {compared.entities}, it was for {before:.1%}",
        )
    ]
