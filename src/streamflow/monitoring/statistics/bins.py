"""The edges of the bins in which a feature's numbers are counted."""

from __future__ import annotations

import math
from collections.abc import Iterable

# Quantiles of training's values between which numbers are counted.
LEVELS = tuple(step / 100 for step in range(1, 100))


# Values that are farther outside training's range than this share of it are outside: the least and
# the greatest value of a sample aren't those of the next one.
MARGIN = 0.05


def edges(least: float, greatest: float, quantiles: Iterable[float]) -> tuple[float, ...]:
    """Ascending edges: training's range, from the least to the greatest value, with a margin on
    both sides, and the quantiles of its values.

    The first bin has what is below the margin, the last one what is above.
    """
    inside = {one for one in quantiles if least < one < greatest}
    margin = MARGIN * (greatest - least)
    above = math.nextafter(greatest + margin, math.inf)
    return (*sorted({least - margin, least, *inside, greatest}), above)
