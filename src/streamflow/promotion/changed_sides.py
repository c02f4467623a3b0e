"""By which features the entities that change side differ from the others. Pure, without I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

_MOST_FEATURES = 5


@dataclass(frozen=True)
class FeatureDifference:
    """How the values of a feature differ between those that change side and the others.

    Of numbers, `changed` and `others` are their means; of anything else, the shares of `value`, the
    one whose share differs most. `difference` is in standard deviations over both.
    """

    feature: str
    value: object
    changed: float
    others: float
    difference: float

    @property
    def in_words(self) -> str:
        """The difference as a sentence."""
        if self.value is None:
            return f"{self.feature}: mean {self.changed:.4g}, and {self.others:.4g} of the others"
        shares = f"{self.changed:.1%}, and {self.others:.1%} of the others"
        return f"{self.feature} is {self.value}: {shares}"


def feature_differences(
    changed: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]
) -> list[FeatureDifference]:
    """The features whose values differ most, the largest difference first, at most five.

    Given are the values by feature. It describes the rows, and says nothing of a cause.
    """
    if not changed or not others:
        return []
    names = [name for name in changed[0] if all(name in row for row in (*changed, *others))]
    found = [
        one
        for name in names
        if (one := _difference(name, [row[name] for row in changed], [row[name] for row in others]))
    ]
    return sorted(found, key=lambda one: -one.difference)[:_MOST_FEATURES]


def _difference(
    name: str, changed: Sequence[object], others: Sequence[object]
) -> FeatureDifference | None:
    every = [*changed, *others]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in every)
    if numbers:
        spread = float(np.std(np.array(every, np.float64)))
        one, other = (float(np.mean(np.array(of, np.float64))) for of in (changed, others))
        if not spread or not np.isfinite(spread):
            return None
        return FeatureDifference(name, None, one, other, abs(one - other) / spread)
    of_changed, of_others = (Counter(map(_shown, of)) for of in (changed, others))
    best: FeatureDifference | None = None
    for value in {**of_changed, **of_others}:
        one, other = of_changed[value] / len(changed), of_others[value] / len(others)
        share = (of_changed[value] + of_others[value]) / len(every)
        if share in (0, 1):
            continue
        difference = abs(one - other) / sqrt(share * (1 - share))
        if best is None or difference > best.difference:
            best = FeatureDifference(name, value, one, other, difference)
    return best


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else "a number"
