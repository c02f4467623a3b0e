"""When a canary ends by itself. Pure decisions, without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log

from streamflow.serving.challenger.scored_rows import Comparison

# A canary whose true share is at the bound reaches this by chance once in a million looks.
_CHANCE = 1e-6
# What happened lately is counted beside the whole, so that a late rise isn't lost in the past.
_RECENT_SECONDS = 4.0
NOTHING = Comparison(0, 0, 0, 0)


@dataclass(frozen=True)
class CanaryBounds:
    """The highest share of rows for which the challenger has no prediction where the version in
    Production has one, and of labels that differ; None is no bound."""

    errors: float | None
    disagreement: float | None

    def exceeded(self, counts: Comparison) -> str | None:
        """In words, the bound that these counts are beyond, more than chance explains."""
        asked = counts.failed + counts.compared
        for failed, rows, bound, what in (
            (counts.failed, asked, self.errors, "have no prediction"),
            (counts.changed, counts.compared, self.disagreement, "have another label"),
        ):
            if bound is not None and beyond(failed, rows, bound):
                return (
                    f"{failed:,} of {rows:,} rows {what} by the version in Staging "
                    f"({failed / rows:.1%}), and the bound is {bound:.1%}"
                )
        return None


NO_BOUNDS = CanaryBounds(None, None)


def beyond(found: int, rows: int, bound: float) -> bool:
    """Whether `found` of `rows` is more than a share of `bound` explains by chance.

    By the Chernoff bound of the binomial distribution: n times the relative entropy of the found
    share to the bound (Hoeffding 1963, theorem 1).
    """
    if not found or found <= bound * rows:
        return False
    if bound <= 0:
        return True
    share = found / rows
    entropy = share * log(share / bound)
    if share < 1:
        entropy += (1 - share) * log((1 - share) / (1 - bound))
    return rows * entropy > -log(_CHANCE)


class CanaryCounts:
    """What came of one canary: since it began, and lately. `seconds` is a monotonic time."""

    def __init__(self, seconds: float) -> None:
        self.total = NOTHING
        self._began = seconds
        self._recent = self._before = NOTHING

    def add(self, counts: Comparison, seconds: float) -> None:
        """Add what was counted at this time."""
        if seconds - self._began > _RECENT_SECONDS:
            fresh = seconds - self._began < 2 * _RECENT_SECONDS
            self._before, self._recent = self._recent if fresh else NOTHING, NOTHING
            self._began = seconds
        self.total = _sum(self.total, counts)
        self._recent = _sum(self._recent, counts)

    def exceeded(self, bounds: CanaryBounds) -> str | None:
        """In words, the bound that is exceeded, if one is."""
        lately = _sum(self._before, self._recent)
        return bounds.exceeded(self.total) or bounds.exceeded(lately)

    @property
    def figures(self) -> Mapping[str, int]:
        """What was counted since the canary began."""
        return self.total._asdict()


def _sum(one: Comparison, other: Comparison) -> Comparison:
    return Comparison(*(a + b for a, b in zip(one, other, strict=True)))
