"""Scores in order, once, so that a figure of each of many resamples takes a few sums."""

from __future__ import annotations

import numpy as np

from streamflow.training.served_model import Labels, Matrix
from streamflow.training.statistics.resamples import Times


class RankedScores:
    """The scores of rows with labels (0 or 1), from the lowest to the highest."""

    def __init__(self, labels: Labels, scores: Matrix) -> None:
        order = np.argsort(scores, kind="stable")
        is_positive = labels[order] == 1
        self._positives, self._negatives = order[is_positive], order[~is_positive]
        high, low = scores[self._positives], scores[self._negatives]
        # For each positive, how many negatives score lower, how many lower or the same, and how
        # many positives lower.
        self._lower = np.searchsorted(low, high, "left")
        self._not_higher = np.searchsorted(low, high, "right")
        self._positives_lower = np.searchsorted(high, high, "left")

    def counted(self, times: Times) -> Counted:
        """The rows, each as many times as `times` says: (rows,)."""
        positives = times[self._positives]
        negatives_until = _sums(times[self._negatives])
        return Counted(
            positives=positives,
            positives_lower=_sums(positives)[self._positives_lower],
            all_positives=int(positives.sum()),
            lower=negatives_until[self._lower],
            not_higher=negatives_until[self._not_higher],
            all_negatives=int(negatives_until[-1]),
        )


def _sums(counts: Times) -> Times:
    """The sum of the first 0, 1, 2, … counts."""
    sums = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=sums[1:])
    return sums


class Counted:
    """Of each positive, from the lowest score to the highest, how often it counts, and how many
    rows score lower: (positives,)."""

    def __init__(
        self,
        positives: Times,
        positives_lower: Times,
        all_positives: int,
        lower: Times,
        not_higher: Times,
        all_negatives: int,
    ) -> None:
        self._positives, self._all_positives = positives, all_positives
        self._positives_lower = positives_lower
        self._lower, self._not_higher, self._all_negatives = lower, not_higher, all_negatives

    @property
    def auc(self) -> float | None:
        """The share of pairs of a positive and a negative in which the positive scores higher, a
        tie counting half. None without both labels."""
        if not self._all_positives or not self._all_negatives:
            return None
        # In whole numbers, so that the order of summing can't show.
        twice_won = int(self._positives @ (self._lower + self._not_higher))
        return twice_won / (2 * self._all_positives * self._all_negatives)

    @property
    def average_precision(self) -> float | None:
        """The mean, over the positives, of the share of positives among rows that score as high or
        higher. None without a positive."""
        if not self._all_positives:
            return None
        positives = self._all_positives - self._positives_lower
        rows = positives + (self._all_negatives - self._lower)
        # A positive that doesn't count may be above all rows that do.
        precision = positives / np.maximum(rows, 1)
        # Not by `@`, whose order of summing depends on how many threads there are.
        return float(np.sum(self._positives * precision)) / self._all_positives
