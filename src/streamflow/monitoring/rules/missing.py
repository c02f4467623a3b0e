"""The rule about a feature's nulls."""

from __future__ import annotations

from typing import Any

from streamflow.monitoring.alarm import Alarm
from streamflow.monitoring.counts import FeatureCounts
from streamflow.monitoring.rules.compared import Compared, percent
from streamflow.monitoring.statistics.shift import rarer_by_chance


def missing_figures(reference: FeatureCounts, current: FeatureCounts) -> dict[str, Any]:
    """Rows and the shares of nulls."""
    return {
        "rows": current.rows,
        "rows_before": reference.rows,
        "missing": _share(current),
        "missing_before": _share(reference),
    }


def missing_alarm(
    feature: str, reference: FeatureCounts, current: FeatureCounts, compared: Compared
) -> list[Alarm]:
    """The alarm that more are null than before, by more than the bound and than chance."""
    bound = compared.bounds.missing
    share, before = _share(current), _share(reference)
    if bound is None or share - before < bound or not reference.rows:
        return []
    rows = compared.reference_rows or reference.rows
    p = rarer_by_chance(current.missing, current.rows, round(before * rows), rows)
    if p > compared.level:
        return []
    was = "it was never null" if not before else f"{percent(before)} were"
    return [
        compared.alarm(
            "missing",
            feature,
            "critical" if share >= 0.5 else "warning",
            share - before,
            bound,
            f"it is null for {percent(share)} {compared.entities}; {was}"
            if share >= 0.995
            else f"it is null for {percent(share)} of {compared.entities}; {was}",
        )
    ]


def _share(counts: FeatureCounts) -> float:
    return counts.missing / counts.rows if counts.rows else 0.0
