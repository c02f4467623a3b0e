"""What counts as moved: the bounds of the rules that raise alarms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import timedelta

from streamflow.use_case.findings import Finding


@dataclass(frozen=True)
class Monitoring:
    """The bounds of monitoring; with None a figure is shown and raises no alarm.

    A figure that is measured on a sample raises an alarm only if it is beyond its bound, and
    chance alone would rarely move it so far: in a month in which nothing has moved, an alarm is
    raised with a probability of at most `false_alarms`, over all rules and features together.

    `shift`: the population stability index of a feature, without what chance adds.
    `missing`: by how much the share of nulls has risen.
    `outside`: the share of entities with a value outside the range that training saw, or with a
    category that it didn't see. `scale`: by how much all values of a feature are larger or smaller,
    as a share of them. `unit`: the share of entities whose values are a multiple of what they were.
    `score_shift`: as `shift`, of the scores. `share_above`: by how much the share of entities whose
    label is 1 by the model has moved.
    `quality`: by how much the AUC is lower than was promised, and by how much the mean score
    differs from the share of true labels. `estimate`: the same of the AUC's estimate, before labels
    are there.
    `skew`: the share of logged predictions with another value than history has.
    `volume`: by how much the number of entities has changed in a month, as a share. `rows`: the
    share of entities without a row in a table. `corrections`: the share of a month's rows that
    were corrected after it. `same_rows`: the share of rows that are those of another month.
    `labels_late`: for how long labels that could be known may be missing.
    """

    false_alarms: float = 0.01
    shift: float | None = 0.1
    missing: float | None = 0.01
    outside: float | None = 0.005
    scale: float | None = 0.07
    unit: float | None = 0.01
    score_shift: float | None = 0.1
    share_above: float | None = 0.05
    quality: float | None = 0.05
    estimate: float | None = 0.05
    skew: float | None = 0.001
    volume: float | None = 0.03
    rows: float | None = 0.01
    corrections: float | None = 0.05
    same_rows: float | None = 0.99
    labels_late: timedelta | None = timedelta(days=10)


def monitoring_findings(bounds: object) -> Iterator[Finding]:
    """What is wrong with the bounds."""
    if not isinstance(bounds, Monitoring):
        yield Finding(
            "monitoring",
            f"it is {type(bounds).__name__}, not Monitoring",
            "monitoring=Monitoring()",
        )
        return
    for one in fields(Monitoring):
        value = getattr(bounds, one.name)
        if one.name == "labels_late":
            if value is not None and (not isinstance(value, timedelta) or value < timedelta(0)):
                yield Finding(
                    "monitoring",
                    f"labels_late is {value!r}, not a time; None raises no alarm",
                    "Monitoring(labels_late=timedelta(days=10))",
                )
        elif value is None and one.name != "false_alarms":
            continue
        elif not _is_number(value) or not 0 < value < _most(one.name):
            most = _most(one.name)
            words = "a number above 0" + (f" and below {most:g}" if most < math.inf else "")
            else_ = "" if one.name == "false_alarms" else "; None raises no alarm"
            yield Finding(
                "monitoring",
                f"{one.name} is {value!r}, not {words}{else_}",
                f"Monitoring({one.name}={one.default})",
            )


def _most(name: str) -> float:
    """What the bound is below."""
    return math.inf if name in ("shift", "score_shift", "scale", "volume") else 1.0


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
