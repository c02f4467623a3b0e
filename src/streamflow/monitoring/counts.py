"""A feature in the rows of a month, as counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Of categories, so many are counted by name.
MOST_CATEGORIES = 1_000


@dataclass(frozen=True)
class NumberCounts:
    """Numbers of a feature. `rows` are those of its table, `missing` of them are null.

    `bins` counts values below the first edge, between each two edges (the lower one belongs to it),
    and from the last edge on; the first and the last bin are
    outside the range of training, by more than a margin.
    `magnitudes` counts values above 0 by the whole part of 200 log10 x. The others are None without
    a value.
    """

    rows: int
    missing: int
    bins: tuple[int, ...]
    magnitudes: Mapping[int, int]
    least: float | None = None
    greatest: float | None = None
    mean: float | None = None
    deviation: float | None = None

    @property
    def values(self) -> int:
        """How many aren't null."""
        return self.rows - self.missing


@dataclass(frozen=True)
class CategoryCounts:
    """Texts or booleans of a feature. `rows` are those of its table, `missing` of them are null.

    `categories` has the 1,000 that are most common, `others` counts the rest.
    """

    rows: int
    missing: int
    categories: Mapping[str, int]
    others: int = 0

    @property
    def values(self) -> int:
        """How many aren't null."""
        return self.rows - self.missing


FeatureCounts = NumberCounts | CategoryCounts
