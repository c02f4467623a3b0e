"""Shares and their differences against what is published, and against scipy's."""

from __future__ import annotations

import os
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from streamflow.training.statistics.shares import difference, share

# First and second share, and the interval of their difference by method 10: Newcombe (1998), table
# II.
PUBLISHED = [
    ((56, 70), (48, 80), (0.0524, 0.3339)),
    ((9, 10), (3, 10), (0.1705, 0.8090)),
    ((6, 7), (2, 7), (0.0582, 0.8062)),
    ((5, 56), (0, 29), (-0.0381, 0.1926)),
    ((0, 10), (0, 20), (-0.1611, 0.2775)),
    ((0, 10), (0, 10), (-0.2775, 0.2775)),
    ((10, 10), (0, 20), (0.6791, 1.0000)),
    ((10, 10), (0, 10), (0.6075, 1.0000)),
]


@pytest.mark.parametrize(("first", "second", "interval"), PUBLISHED)
def test_differences_have_the_intervals_that_newcombe_published(
    first: tuple[int, int], second: tuple[int, int], interval: tuple[float, float]
) -> None:
    found = difference(share(*first), share(*second))
    assert (found.low, found.high) == pytest.approx(interval, abs=5e-5)


@given(st.integers(1, 10**6).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_a_share_has_wilsons_interval(counted: tuple[int, int]) -> None:
    found = share(*counted)
    theirs = binomtest(*counted).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


def coverage(sizes: tuple[int, int], shares: tuple[float, float]) -> float:
    """With which probability the interval contains the true difference: exact, by every outcome."""
    likely = [
        [k for k in range(size + 1) if binom.pmf(k, size, one) > 1e-9]
        for size, one in zip(sizes, shares, strict=True)
    ]
    covered = 0.0
    for first, second in product(*likely):
        found = difference(share(first, sizes[0]), share(second, sizes[1]))
        if found.low <= shares[0] - shares[1] <= found.high:
            covered += binom.pmf(first, sizes[0], shares[0]) * binom.pmf(
                second, sizes[1], shares[1]
            )
    return float(covered)


def test_the_interval_of_a_difference_covers_it_as_often_as_it_says() -> None:
    assert coverage((50, 180), (0.3, 0.22)) == pytest.approx(0.95, abs=0.012)


@pytest.mark.skipif("STREAMFLOW_LONG_TESTS" not in os.environ, reason="STREAMFLOW_LONG_TESTS=1")
@pytest.mark.parametrize("sizes", [(30, 30), (30, 270), (50, 450), (100, 900)])
def test_it_does_for_campaigns_of_any_size(sizes: tuple[int, int]) -> None:
    found = [
        coverage(sizes, (held_out, held_out * (1 - success)))
        for held_out in (0.05, 0.1, 0.2, 0.4, 0.6)
        for success in (0.0, 0.2, 0.5)
    ]
    assert min(found) > 0.93
    assert np.mean(found) == pytest.approx(0.955, abs=0.01)
