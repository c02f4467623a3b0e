"""What is usual for a feature, among the rows of a background."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from streamflow.training.served_model import Feature, FeatureSchema

FeatureValue = bool | int | float | str | None


def usual_values(
    schema: FeatureSchema, columns: Mapping[str, Sequence[FeatureValue]]
) -> dict[str, FeatureValue]:
    """Per feature the value that is usual in the columns' rows.

    It's the median of numbers (the lower one of two, so that some row has it), the most frequent
    boolean or category (the first in the order of its text, of several), and null where most are.
    """
    return {one.name: _usual(one, columns[one.name]) for one in schema.features}


def _usual(feature: Feature, values: Sequence[FeatureValue]) -> FeatureValue:
    known = [one for one in values if one is not None and one == one]
    if 2 * len(known) < len(values) or not known:
        return None
    if feature.type in ("INT64", "FLOAT64"):
        return sorted(known, key=float)[(len(known) - 1) // 2]
    counted = Counter(known)
    return min(counted, key=lambda one: (-counted[one], str(one)))
