"""Shares of entities, and the difference of two, with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

# How often an interval misses the true figure.
ERROR = 0.05


@dataclass(frozen=True)
class Estimate:
    """A figure and both ends of its interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """The figure and its interval, as JSON has them."""
        return {"value": self.value, "low": self.low, "high": self.high}


def share(count: int, entities: int, error: float = ERROR) -> Estimate:
    """The share `count` of `entities`, of which there is at least one, with Wilson's interval.

    It misses the true share with the probability `error`, stays within 0 and 1, and isn't empty
    where the share is 0 or 1 (Wilson, 1927, Journal of the American Statistical Association 22).
    """
    z = NormalDist().inv_cdf(1 - error / 2)
    found = count / entities
    middle = found + z * z / (2 * entities)
    half = z * math.sqrt(found * (1 - found) / entities + z * z / (4 * entities**2))
    scale = 1 + z * z / entities
    low = 0.0 if count == 0 else (middle - half) / scale
    high = 1.0 if count == entities else (middle + half) / scale
    return Estimate(found, low, high)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """The first share minus the second, of entities of which none is in both, with the interval of
    Newcombe's hybrid score method, for which both come from `share`.

    It is method 10 of Newcombe, 1998, "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17, 873-890. It holds for small numbers and for shares near
    0 too, where the normal approximation doesn't.
    """
    value = first.value - second.value
    low = math.hypot(first.value - first.low, second.high - second.value)
    high = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, value - low, value + high)


def least_difference(first: int, second: int, true_share: float) -> float:
    """The difference of two shares that is told from none in four of five cases, where there are
    `first` and `second` entities with a share of about `true_share`; by the normal approximation.
    """
    z = NormalDist().inv_cdf(1 - ERROR / 2) + NormalDist().inv_cdf(0.8)
    return z * math.sqrt(true_share * (1 - true_share) * (1 / first + 1 / second))
