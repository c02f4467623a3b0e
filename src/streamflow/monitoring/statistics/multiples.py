"""Whether values are a multiple of what they were: all of them, or those of a part of the entities.

Numbers are counted by their magnitude: the whole part of 200 log10 |x|, so that a multiple moves
them by a number of bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamflow.monitoring.statistics.shift import pearson_statistic

BINS_A_DECADE = 200
# Magnitudes are fitted in bins of this many, in which a sample isn't too sparse.
_COARSE = 5
_MOST_DECADES = 4
_LEAST_FACTOR = 2.0
_ITERATIONS = 12
# How much of the difference to the reference a multiple has to explain.
EXPLAINED = 0.8
_LEVELS = np.linspace(0.05, 0.95, 19)
# Factors that units have: time, money, sizes, lengths, weights.
UNITS = (60, 3600, 24, 1440, 7, 12, 30, 10, 100, 1000, 1024, 1_000_000, 1.609, 2.54, 2.2046)

# How many values have each magnitude, of values above 0, and how many are 0 or below.
Magnitudes = Mapping[int, int]


@dataclass(frozen=True)
class Multiple:
    """The values of `share` of the entities are `factor` times what they were.

    `p` is the probability of such a difference to the reference if nothing has moved, by Pearson's
    chi-square; `explained` is how much of the difference beyond chance the multiple explains, as a
    share.
    """

    factor: float
    share: float
    p: float
    explained: float


def multiple_of_a_part(
    reference: Magnitudes, current: Magnitudes, level: float = 1.0
) -> Multiple | None:
    """The multiple that best explains how the current values differ.

    None without values, and if chance alone would move them so far with a probability above
    `level`. The current values are taken for a mixture: a share is as in the reference times a
    factor, the others are as in the reference. For each factor from 2 to 10,000, and below 1, the
    share with the greatest likelihood is found by expectation and maximization.
    """
    from scipy.stats import chi2

    if not reference or not current:
        return None
    before, after = _aligned(reference, current)
    place, statistic = _difference(before.astype(np.float64), after.astype(np.float64))
    free = int(place.max())
    if not free or (p := float(chi2.sf(statistic, free))) > level:
        return None
    reach = _MOST_DECADES * BINS_A_DECADE // _COARSE
    least = int(np.ceil(np.log10(_LEAST_FACTOR) * BINS_A_DECADE / _COARSE))
    padded = np.pad(_spread(before), reach)
    # What the reference has nowhere near is as rare as can be.
    base = (padded + 0.5 / len(padded)) / (padded.sum() + 0.5)
    there = np.flatnonzero(np.pad(after, reach))
    seen = np.pad(after, reach)[there].astype(np.float64)
    steps = np.array([*range(-reach, -least + 1), *range(least, reach + 1)])
    source = there[None, :] - steps[:, None]
    inside = (source >= 0) & (source < len(base))
    moved = np.where(inside, base[np.clip(source, 0, len(base) - 1)], base.min())
    still = base[there][None, :]
    share = np.full((len(steps), 1), 0.05)
    for _ in range(_ITERATIONS):
        mine = share * moved
        share = (mine / (mine + (1 - share) * still)) @ seen[:, None] / seen.sum()
    likelihood = np.log(share * moved + (1 - share) * still) @ seen
    best = int(np.argmax(likelihood))
    fitted = float(share[best, 0]) * _shifted(base, int(steps[best]))
    fitted += (1 - float(share[best, 0])) * base
    inner = fitted[reach : reach + len(before)] * before.sum()
    _, left = _difference(inner, after.astype(np.float64), place)
    # Chance alone leaves as much as there are degrees of freedom.
    explained = 1 - max(left - free, 0.0) / (statistic - free) if statistic > free else 0.0
    factor = float(10 ** (int(steps[best]) * _COARSE / BINS_A_DECADE))
    return Multiple(factor, float(share[best, 0]), p, explained)


def multiple_of_all(reference: Magnitudes, current: Magnitudes) -> tuple[float, float] | None:
    """The factor by which all current values differ, and its standard error as a share of it.

    The logarithms' quantiles from 5 to 95 % are compared. None if they haven't all moved alike.
    """
    rows, other_rows = sum(reference.values()), sum(current.values())
    if rows < 20 or other_rows < 20:
        return None
    before, after = _quantiles(reference), _quantiles(current)
    moved = after - before
    mean = float(moved.mean())
    spread = float(before[-1] - before[0]) / 3.29  # a standard deviation, if it is normal
    error = spread * float(np.sqrt(1 / rows + 1 / other_rows))
    # Quantiles far out vary more than the mean.
    allowed = 0.3 * abs(mean) + 4 * error + 2 / BINS_A_DECADE
    if abs(mean) < 4 / BINS_A_DECADE or np.max(np.abs(moved - mean)) > allowed:
        return None
    return float(10**mean), error * float(np.log(10))


def named_factor(factor: float) -> str:
    """The factor in words, as "60 times larger"; a known unit's where it is near."""
    size = factor if factor >= 1 else 1 / factor
    near = [unit for unit in UNITS if abs(size / unit - 1) < 0.04]
    number = f"{min(near, key=lambda unit: abs(size / unit - 1)):,}" if near else f"{size:.3g}"
    return f"{number} times {'larger' if factor >= 1 else 'smaller'}"


def _aligned(
    reference: Magnitudes, current: Magnitudes
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Both as coarse counts in the same bins."""
    bins = [magnitude // _COARSE for magnitude in (*reference, *current)]
    first, last = min(bins), max(bins)

    def counted(values: Magnitudes) -> npt.NDArray[np.int64]:
        counts = np.zeros(last - first + 1, np.int64)
        for magnitude, count in values.items():
            counts[magnitude // _COARSE - first] += count
        return counts

    return counted(reference), counted(current)


def _spread(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The counts, a part of each given to its neighbours: a multiple rarely is a whole number of
    bins."""
    smooth = np.convolve(np.pad(counts.astype(np.float64), 1), [0.25, 0.5, 0.25], mode="same")
    spread: npt.NDArray[np.float64] = smooth[1:-1]
    return spread


def _shifted(shares: npt.NDArray[np.float64], steps: int) -> npt.NDArray[np.float64]:
    """The shares moved by so many bins; what is new at the end is as rare as can be."""
    moved = np.full_like(shares, shares.min())
    if steps > 0:
        moved[steps:] = shares[:-steps]
    else:
        moved[:steps] = shares[-steps:]
    return moved


def _difference(
    before: npt.NDArray[np.float64],
    after: npt.NDArray[np.float64],
    place: npt.NDArray[np.int64] | None = None,
) -> tuple[npt.NDArray[np.int64], float]:
    """The group of each bin, so that at most 20 groups have some rows each, and Pearson's
    chi-square of the two samples in them."""
    if place is None:
        pooled = before + after
        group = (np.cumsum(pooled) - pooled / 2) * 20 / pooled.sum()
        _, place = np.unique(np.minimum(group.astype(np.int64), 19), return_inverse=True)
    sums = [np.bincount(place, values) for values in (before, after)]
    return place, pearson_statistic(sums[0].astype(np.float64), sums[1].astype(np.int64))


def _quantiles(values: Magnitudes) -> npt.NDArray[np.float64]:
    """The logarithms (base 10) below which the values' shares are, from 5 to 95 %."""
    magnitudes = np.array(sorted(values))
    counts = np.array([values[one] for one in magnitudes.tolist()], dtype=np.float64)
    until = (np.cumsum(counts) - counts / 2) / counts.sum()
    found: npt.NDArray[np.float64] = np.interp(_LEVELS, until, magnitudes + 0.5) / BINS_A_DECADE
    return found
