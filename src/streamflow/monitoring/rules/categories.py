"""The rules about a feature of texts or booleans."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streamflow.monitoring.alarm import Alarm, Figure
from streamflow.monitoring.counts import CategoryCounts
from streamflow.monitoring.rules.compared import Compared, percent
from streamflow.monitoring.rules.missing import missing_alarm, missing_figures
from streamflow.monitoring.rules.numbers import shift_alarm
from streamflow.monitoring.statistics.shift import Counts, rarer_by_chance, shift

# Categories with fewer rows in both samples together are compared as one.
_FEWEST = 10
_NAMED = 5


def category_feature(
    feature: str, reference: CategoryCounts, current: CategoryCounts, compared: Compared
) -> tuple[Figure, list[Alarm]]:
    """The feature's figures, and the alarms of the rules about it."""
    new = _only_in(current, reference)
    gone = _only_in(reference, current)
    figures = {
        **missing_figures(reference, current),
        "new": [*new][:_NAMED],
        "vanished": [*gone][:_NAMED],
    }
    alarms = missing_alarm(feature, reference, current, compared)
    if reference.values and current.values:
        names, before, after = _counted(reference, current)
        if len(names) > 1:
            rows = compared.reference_rows
            moved = shift(before, after, None if rows is None else min(rows, reference.values))
            figures |= {
                "psi": moved.psi,
                "psi_by_chance": moved.by_chance,
                "psi_standard_error": moved.standard_error,
                "p": moved.p,
                "jensen_shannon": moved.jensen_shannon,
                "categories": names,
                "shares": [(before / before.sum()).tolist(), (after / after.sum()).tolist()],
            }
        found = [*_alarm(feature, reference, current, compared, new, gone)]
        if len(names) > 1 and not found:
            found += shift_alarm(feature, moved, compared, "")
        alarms += found
    return Figure("feature", feature, compared.reference, figures), alarms


def _alarm(
    feature: str,
    reference: CategoryCounts,
    current: CategoryCounts,
    compared: Compared,
    new: dict[str, int],
    gone: dict[str, int],
) -> Iterator[Alarm]:
    """New and vanished categories that are common enough, and more than chance would make."""
    bound = compared.bounds.outside
    if bound is None:
        return
    rows = min(compared.reference_rows or reference.values, reference.values)
    before = rows / reference.values
    fresh, lost = sum(new.values()), sum(gone.values()) * before
    come = fresh / current.values if new else 0.0
    went = lost / rows if gone else 0.0
    if come < bound or rarer_by_chance(fresh, current.values, 0, rows) > compared.level:
        come, new = 0.0, {}
    if went < bound or rarer_by_chance(round(lost), rows, 0, current.values) > compared.level:
        went, gone = 0.0, {}
    if not new and not gone:
        return
    said = []
    if new:
        said.append(f"{_named(new)} is new ({percent(come)} of {compared.entities})")
    if gone:
        said.append(f"{_named(gone)} has vanished ({percent(went)} before)")
    if new and gone:
        said[-1] += ": a category may have been renamed"
    share = max(come, went)
    yield compared.alarm(
        "categories",
        feature,
        "critical" if share >= 0.05 else "warning",
        share,
        bound,
        " and ".join(said),
    )


def _named(counts: dict[str, int]) -> str:
    names = [repr(name) for name in sorted(counts, key=lambda name: (-counts[name], name))]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _only_in(counts: CategoryCounts, other: CategoryCounts) -> dict[str, int]:
    """The categories that the other lacks, none where it has more than are counted by name."""
    if other.others:
        return {}
    found = {name: count for name, count in counts.categories.items() if count}
    return {name: count for name, count in found.items() if not other.categories.get(name)}


def _counted(
    reference: CategoryCounts, current: CategoryCounts
) -> tuple[list[str], Counts, Counts]:
    """The categories that are common enough, and the rest as one, with their counts."""
    both = {
        name: reference.categories.get(name, 0) + current.categories.get(name, 0)
        for name in {*reference.categories, *current.categories}
    }
    names = sorted(name for name, count in both.items() if count >= _FEWEST)

    def counts(of: CategoryCounts) -> list[int]:
        common = [of.categories.get(name, 0) for name in names]
        return [*common, of.values - sum(common)]

    before, after = (np.array(counts(one), np.int64) for one in (reference, current))
    if before[-1] + after[-1] == 0:
        return names, before[:-1], after[:-1]
    return [*names, "others"], before, after
