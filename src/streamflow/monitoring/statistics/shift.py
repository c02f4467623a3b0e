"""How far a distribution has moved from another one, and how far chance alone would move it.

The counts of two samples in the same bins are compared. Both samples are taken to be independent;
where the same entities are in both, chance moves the counts less, so that fewer alarms are false.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]
BINS = 10


@dataclass(frozen=True)
class Shift:
    """How far `current` counts are from `reference` counts.

    `psi` is the population stability index, `by_chance` what it is on average if nothing has moved,
    and `standard_error` how much it varies then. `p` is the probability of a shift so large or
    larger if nothing has moved. `jensen_shannon` is the distance, from 0 to 1.
    """

    psi: float
    by_chance: float
    standard_error: float
    p: float
    jensen_shannon: float

    @property
    def beyond_chance(self) -> float:
        """The index without what chance adds to it on average, at least 0."""
        return max(0.0, self.psi - self.by_chance)


def smoothed(counts: Counts) -> Shares:
    """The bins' shares with half a row added to each, so that an empty one counts as rare."""
    shares: Shares = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return shares


def population_stability_index(reference: Counts, current: Counts) -> float:
    """The sum over the bins of (c - r) ln(c / r), of the shares as `smoothed` makes them.

    It is the Kullback-Leibler divergence in one direction and in the other. By rule of thumb, 0.1
    is a shift and 0.25 a large one (Siddiqi, 2006, "Credit Risk Scorecards").
    """
    before, after = smoothed(reference), smoothed(current)
    return float(np.sum((after - before) * np.log(after / before)))


def jensen_shannon(reference: Counts, current: Counts) -> float:
    """The square root of the Jensen-Shannon divergence in bits, of the plain shares: 0 to 1.

    Lin (1991), "Divergence measures based on the Shannon entropy", IEEE Transactions on Information
    Theory 37; Endres and Schindelin (2003), "A new metric for probability distributions".
    """
    before, after = reference / reference.sum(), current / current.sum()
    middle = (before + after) / 2
    divergence = (_relative_entropy(before, middle) + _relative_entropy(after, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0)))


def _relative_entropy(shares: Shares, other: Shares) -> float:
    there = shares > 0
    return float(np.sum(shares[there] * np.log2(shares[there] / other[there])))


def shift(reference: Counts, current: Counts, reference_rows: int | None = None) -> Shift:
    """How far the counts have moved; (bins,) each, with a row in both.

    `reference_rows` is how many independent rows are behind the reference, if not as many as are
    counted: an entity may be counted in several months.

    If nothing has moved, the index divided by 1/n + 1/m is distributed as chi-square with bins - 1
    degrees of freedom, of n and m rows (Yurdakul, 2018, "Statistical properties of population
    stability index", Western Michigan University). So its mean is (bins - 1) (1/n + 1/m), and its
    standard error the square root of 2 (bins - 1), times (1/n + 1/m). Where few rows are in a bin,
    it is a little larger: `p` is the larger one of that and of Pearson's chi-square for two
    samples, which errs elsewhere.
    """
    from scipy.stats import chi2

    rows = reference_rows or int(reference.sum())
    noise = 1 / rows + 1 / int(current.sum())
    index = population_stability_index(reference, current)
    free = len(reference) - 1
    scaled = reference * (rows / reference.sum())
    pearson = pearson_statistic(scaled, current)
    used = int(np.count_nonzero((reference + current) > 0)) - 1
    p = 1.0
    if free and used:
        p = max(float(chi2.sf(index / noise, free)), float(chi2.sf(pearson, used)))
    return Shift(
        psi=index,
        by_chance=free * noise,
        standard_error=float(np.sqrt(2 * free)) * noise,
        p=p,
        jensen_shannon=jensen_shannon(reference, current),
    )


def pearson_statistic(reference: npt.NDArray[np.floating], current: Counts) -> float:
    """Pearson's chi-square of two samples' counts in the same bins."""
    there = (reference + current) > 0
    before, after = reference[there], current[there]
    both = before + after
    share = after.sum() / both.sum()
    expected_before, expected_after = both * (1 - share), both * share
    return float(
        np.sum((before - expected_before) ** 2 / expected_before)
        + np.sum((after - expected_after) ** 2 / expected_after)
    )


def tenths(reference: Counts) -> npt.NDArray[np.int64]:
    """For each of many ascending bins, which one of at most ten groups it is in, so that each group
    has about as many rows of the reference: (bins,)."""
    until = np.cumsum(reference) - reference / 2
    place = np.clip((until * BINS / max(int(reference.sum()), 1)).astype(np.int64), 0, BINS - 1)
    _, group = np.unique(place, return_inverse=True)
    return group.astype(np.int64)


def grouped(counts: Counts, group: npt.NDArray[np.int64]) -> Counts:
    """The rows in each group of bins."""
    found: Counts = np.bincount(group, counts, minlength=int(group.max()) + 1).astype(np.int64)
    return found


def rarer_by_chance(count: int, rows: int, reference: int, reference_rows: int) -> float:
    """The probability that so many of the rows or more have something, if it is as common as in the
    reference.

    Given how many have it in both samples, its number here is hypergeometric (Fisher's exact test);
    the binomial distribution that is used has a larger variance. Where most rows have it, those
    that lack it are counted.
    """
    from scipy.stats import binom

    if not rows or not reference_rows:
        return 1.0
    share = rows / (rows + reference_rows)
    if 2 * (count + reference) > rows + reference_rows:
        without = rows + reference_rows - count - reference
        return float(binom.cdf(rows - count, without, share))
    return float(binom.sf(count - 1, count + reference, share))
