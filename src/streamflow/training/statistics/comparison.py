"""Figures of one or two models on the same rows, with their 95 % intervals over resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from streamflow.training.served_model import Labels, Matrix
from streamflow.training.statistics.ranked_scores import Counted, RankedScores
from streamflow.training.statistics.resamples import resamples, unstratified_resamples

FIGURES = ("auc", "average_precision")


@dataclass(frozen=True)
class Interval:
    """A figure, and over resamples of it the 2.5th and 97.5th percentile, and the standard
    deviation."""

    value: float
    low: float
    high: float
    standard_error: float

    @property
    def width(self) -> float:
        """From the low end to the high one."""
        return self.high - self.low

    def at_level(self, error: float) -> Interval:
        """The interval that misses the figure with the probability `error`, by the normal
        distribution: percentiles so far out take more than 1,000 resamples."""
        half = NormalDist().inv_cdf(1 - error / 2) * self.standard_error
        return Interval(self.value, self.value - half, self.value + half, self.standard_error)

    def as_dict(self) -> dict[str, float]:
        """The figure and its interval, as JSON has them."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Comparison:
    """A figure of the candidate and of the current model, and the candidate's minus the current's.

    The latter two are None where there is no current model.
    """

    candidate: Interval
    current: Interval | None
    difference: Interval | None


def compare(
    labels: Labels,
    candidate: Matrix,
    current: Matrix | None,
    entities: Sequence[str] | None,
    random_state: int,
) -> Mapping[str, Comparison]:
    """The AUC and the average precision of scores (rows,) on the same rows, by their names.

    Both models are measured on the same 1,000 resamples, so that what they have in common cancels
    in the difference. Each label is resampled for itself; where one of `entities` has several rows,
    entities are resampled instead. There has to be a row of each label (0 and 1).
    """
    ranked = [RankedScores(labels, scores) for scores in (candidate, current) if scores is not None]
    once = np.ones(len(labels), np.int64)
    values = np.array([_figures(one.counted(once)) for one in ranked])
    drawn = np.array(
        [
            [_figures(one.counted(times)) for one in ranked]
            for times in resamples(labels, entities, random_state)
        ]
    )
    drawn = drawn[~np.isnan(drawn).any(axis=(1, 2))]
    compared = {}
    for index, figure in enumerate(FIGURES):
        of_each = [
            interval(values[model, index], drawn[:, model, index]) for model in range(len(ranked))
        ]
        if current is None:
            compared[figure] = Comparison(of_each[0], None, None)
        else:
            value = values[0, index] - values[1, index]
            difference = interval(value, drawn[:, 0, index] - drawn[:, 1, index])
            compared[figure] = Comparison(of_each[0], of_each[1], difference)
    return compared


def interval(value: float, drawn: npt.NDArray[np.float64]) -> Interval:
    """The interval of a figure that is `drawn` over resamples: (resamples,)."""
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(value), float(low), float(high), float(np.std(drawn)))


def _figures(counted: Counted) -> list[float]:
    """NaN where a resample lacks one of the labels."""
    auc, average_precision = counted.auc, counted.average_precision
    return [
        np.nan if auc is None else auc,
        np.nan if average_precision is None else average_precision,
    ]


def calibration_shift(
    labels: Labels,
    candidate: Matrix,
    current: Matrix,
    entities: Sequence[str] | None,
    random_state: int,
) -> Interval:
    """By how much farther the candidate's mean score is from the share of true labels than the
    current model's: (rows,) each. Negative where it is nearer.

    Over 1,000 resamples of the rows, or of the entities where one has several rows.
    """
    gaps = np.stack([candidate - labels, current - labels])
    of_each = np.abs(gaps.mean(axis=1))
    drawn = np.array(
        [
            np.abs((gaps * times).sum(axis=1)) / np.sum(times)
            for times in unstratified_resamples(len(labels), entities, random_state)
        ]
    )
    return interval(of_each[0] - of_each[1], drawn[:, 0] - drawn[:, 1])
