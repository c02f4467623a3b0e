"""The rules about all features of a month, in one comparison."""

from __future__ import annotations

from collections.abc import Mapping

from streamflow.monitoring.alarm import Alarm, Figure
from streamflow.monitoring.counts import CategoryCounts, FeatureCounts, NumberCounts
from streamflow.monitoring.rules.categories import category_feature
from streamflow.monitoring.rules.compared import Compared
from streamflow.monitoring.rules.numbers import number_feature


def features(
    reference: Mapping[str, FeatureCounts],
    current: Mapping[str, FeatureCounts],
    compared: Compared,
) -> tuple[list[Figure], list[Alarm]]:
    """The figures and alarms of each feature that is in both; a table without rows has none."""
    figures: list[Figure] = []
    alarms: list[Alarm] = []
    for feature, counts in current.items():
        before = reference.get(feature)
        if before is None or not before.rows or not counts.rows:
            continue
        if isinstance(counts, NumberCounts) and isinstance(before, NumberCounts):
            figure, found = number_feature(feature, before, counts, compared)
        elif isinstance(counts, CategoryCounts) and isinstance(before, CategoryCounts):
            figure, found = category_feature(feature, before, counts, compared)
        else:
            continue
        figures.append(figure)
        alarms += found
    return figures, alarms
