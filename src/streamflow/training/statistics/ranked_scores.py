"""Scores in order, once, so that a figure of each of many resamples takes a few sums."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamflow.training.served_model import Labels, Matrix
from streamflow.training.statistics.resamples import Times


class RankedScores:
    """The scores of rows with labels (0 or 1), from the lowest to the highest."""

    def __init__(self, labels: Labels, scores: Matrix) -> None:
        self._order = np.argsort(scores, kind="stable")
        ordered = scores[self._order]
        self._is_positive = labels[self._order] == 1
        # Rows with the same score count as one: where the next score is another.
        self._ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))

    def counted(self, times: Times) -> Counted:
        """The rows, each as many times as `times` says: (rows,)."""
        ordered = times[self._order]
        until = np.cumsum(ordered)[self._ends]
        positives_until = np.cumsum(ordered * self._is_positive)[self._ends]
        return Counted(positives_until, until - positives_until)


class Counted:
    """Positives and negatives up to each distinct score, the lowest score first: (scores,)."""

    def __init__(
        self, positives_until: npt.NDArray[np.int64], negatives_until: npt.NDArray[np.int64]
    ) -> None:
        self._positives_until, self._negatives_until = positives_until, negatives_until
        self.positives, self.negatives = int(positives_until[-1]), int(negatives_until[-1])
        self._positives = np.diff(positives_until, prepend=0)

    @property
    def auc(self) -> float | None:
        """The share of pairs of a positive and a negative in which the positive scores higher, a
        tie counting half. None without both labels."""
        if not self.positives or not self.negatives:
            return None
        # Negatives below a score, twice, and once those with it: in whole numbers, so that the
        # order of summing can't show.
        below = self._negatives_until.copy()
        below[1:] += self._negatives_until[:-1]
        twice_won = int(self._positives @ below)
        return twice_won / (2 * self.positives * self.negatives)

    @property
    def average_precision(self) -> float | None:
        """The mean, over the positives, of the share of positives among rows that score as high or
        higher. None without a positive."""
        if not self.positives:
            return None
        positives = self.positives - self._positives_until + self._positives
        rows = positives + self.negatives - self._negatives_until
        rows[:] += np.diff(self._negatives_until, prepend=0)
        precision = positives / np.maximum(rows, 1)
        return float(np.sum(self._positives * precision)) / self.positives
