"""The rules about a feature of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from streamflow.monitoring.alarm import TRAINING, Alarm, Figure, Severity
from streamflow.monitoring.counts import NumberCounts
from streamflow.monitoring.rules.compared import Compared, percent
from streamflow.monitoring.rules.missing import missing_alarm, missing_figures
from streamflow.monitoring.statistics.multiples import (
    EXPLAINED,
    multiple_of_a_part,
    multiple_of_all,
    named_factor,
)
from streamflow.monitoring.statistics.shift import (
    Shift,
    grouped,
    rarer_by_chance,
    shift,
    tenths,
)


def number_feature(
    feature: str, reference: NumberCounts, current: NumberCounts, compared: Compared
) -> tuple[Figure, list[Alarm]]:
    """The feature's figures, and the alarms of the rules about it."""
    figures = {**missing_figures(reference, current), **_summary(reference, current)}
    alarms = missing_alarm(feature, reference, current, compared)
    if reference.values and current.values:
        moved, by_group = _shift(reference, current, compared)
        figures |= {**_as_dict(moved), "shares": by_group}
        found = [
            *_unit(feature, reference, current, compared),
            *_scale(feature, reference, current, compared),
        ][:1]
        if compared.reference == TRAINING and not found:
            found += _range(feature, reference, current, compared)
        if not any(one.rule in ("unit", "scale") for one in found):
            found += shift_alarm(feature, moved, compared, _direction(reference, current))
        alarms += found
    return Figure("feature", feature, compared.reference, figures), alarms


def shift_alarm(
    what: str,
    moved: Shift,
    compared: Compared,
    words: str,
    rule: str = "shift",
    bound: float | None = None,
) -> Iterator[Alarm]:
    """The alarm of a distribution that has moved by more than the bound and than chance."""
    bound = compared.bounds.shift if bound is None else bound
    if bound is None or moved.p > compared.level or moved.beyond_chance < bound:
        return
    severity: Severity = "critical" if moved.beyond_chance >= 2.5 * bound else "warning"
    yield compared.alarm(
        rule,
        what,
        severity,
        moved.beyond_chance,
        bound,
        f"the distribution has moved (population stability index {moved.psi:.3f}, of which chance "
        f"makes {moved.by_chance:.3f}){words}",
    )


def _shift(
    reference: NumberCounts, current: NumberCounts, compared: Compared
) -> tuple[Shift, list[list[float]]]:
    before, after = np.array(reference.bins, np.int64), np.array(current.bins, np.int64)
    group = tenths(before)
    before, after = grouped(before, group), grouped(after, group)
    rows = compared.reference_rows
    moved = shift(before, after, None if rows is None else min(rows, reference.values))
    shares = [(before / before.sum()).tolist(), (after / after.sum()).tolist()]
    return moved, shares


def _summary(reference: NumberCounts, current: NumberCounts) -> dict[str, Any]:
    names = ("least", "greatest", "mean", "deviation")
    return {
        **{name: getattr(current, name) for name in names},
        **{f"{name}_before": getattr(reference, name) for name in names},
        "below": current.bins[0],
        "above": current.bins[-1],
    }


def _as_dict(moved: Shift) -> dict[str, float]:
    return {
        "psi": moved.psi,
        "psi_by_chance": moved.by_chance,
        "psi_standard_error": moved.standard_error,
        "p": moved.p,
        "jensen_shannon": moved.jensen_shannon,
    }


def _direction(reference: NumberCounts, current: NumberCounts) -> str:
    if reference.mean is None or current.mean is None:
        return ""
    return f"; its mean is {current.mean:.4g}, it was {reference.mean:.4g}"


def _unit(
    feature: str, reference: NumberCounts, current: NumberCounts, compared: Compared
) -> Iterator[Alarm]:
    bound = compared.bounds.unit
    if bound is None:
        return
    found = multiple_of_a_part(reference.magnitudes, current.magnitudes, compared.level)
    if found is None or not bound <= found.share <= 0.9:
        return
    if found.explained < EXPLAINED:
        return
    # Where there are few distinct values, one of them may be a multiple of another.
    outside = current.bins[0] + current.bins[-1]
    if outside < 0.5 * found.share * current.values and len(reference.magnitudes) < 50:
        return
    yield compared.alarm(
        "unit",
        feature,
        "critical",
        found.share,
        bound,
        f"{percent(found.share)} of {compared.entities} are "
        f"{named_factor(found.factor)}: a unit may have changed",
    )


def _scale(
    feature: str, reference: NumberCounts, current: NumberCounts, compared: Compared
) -> Iterator[Alarm]:
    from scipy.stats import norm

    bound = compared.bounds.scale
    if bound is None:
        return
    found = multiple_of_all(reference.magnitudes, current.magnitudes)
    if found is None:
        return
    factor, error = found
    change = max(factor, 1 / factor) - 1
    if change < bound or 2 * norm.sf(abs(math.log(factor)) / error) > compared.level:
        return
    cause = "a unit may have changed" if change > 0.5 else "how it is measured may have changed"
    yield compared.alarm(
        "scale",
        feature,
        "critical" if change > 0.5 else "warning",
        change,
        bound,
        f"all values are about {named_factor(factor)}: {cause}",
    )


def _range(
    feature: str, reference: NumberCounts, current: NumberCounts, compared: Compared
) -> Iterator[Alarm]:
    bound = compared.bounds.outside
    outside = current.bins[0] + current.bins[-1]
    share = outside / current.values
    if bound is None or share < bound:
        return
    rows = compared.reference_rows or reference.values
    # There are two ends at which a value can be outside.
    p = 2 * min(
        rarer_by_chance(count, current.values, 0, rows)
        for count in (current.bins[0], current.bins[-1])
    )
    if p > compared.level:
        return
    yield compared.alarm(
        "range",
        feature,
        "critical" if share >= 0.05 else "warning",
        share,
        bound,
        f"{percent(share)} of {compared.entities} are far outside the range of "
        f"{reference.least:.6g} to {reference.greatest:.6g} (now {current.least:.6g} to "
        f"{current.greatest:.6g})",
    )
