"""What a version must hold to go to Production, beside the acceptance bar."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal, get_args

from streamflow.use_case.findings import Finding

Recreated = Literal["require", "show"]


@dataclass(frozen=True)
class Gates:
    """The bounds of the gates; None means that a figure is shown and stops nothing.

    Quality: the AUC and the average precision may be lower than those of the version in Production
    by less than `auc_margin` and `average_precision_margin`, on the same rows. The margins suit
    some thousand rows: an equal version passes where some 500 to 1,000 labels are true.
    Calibration: a score may differ from the share of true labels by `calibration_error`.
    Segments: by each value of `segments`, columns as `table.column`, which needn't be features, the
    AUC may not fall by more than `segment_auc_margin`, nor the mean score move away from the share
    of true labels by more than `segment_calibration_margin`.
    Stability: at most the share `changed_labels` of the entities gets another label, and the
    population stability index of the scores is at most `score_shift`.
    Latency: milliseconds to score 1 and 1,000 rows, and how many times those of the version in
    Production.
    `recreated` is "show" where a version that can't be made again may go to Production.
    With `approval`, a second person has to approve.
    A canary ends where the share of its requests that fail is higher than Production's by more
    than `canary_errors`, or where more than `canary_disagreement` of its labels differ.
    """

    auc_margin: float | None = 0.02
    average_precision_margin: float | None = 0.04
    calibration_error: float | None = 0.05
    segments: tuple[str, ...] = ()
    segment_auc_margin: float | None = 0.05
    segment_calibration_margin: float | None = 0.05
    changed_labels: float | None = None
    score_shift: float | None = None
    one_row_ms: float | None = 10.0
    thousand_rows_ms: float | None = 500.0
    latency_ratio: float | None = 5.0
    recreated: Recreated = "require"
    approval: bool = False
    canary_errors: float | None = 0.01
    canary_disagreement: float | None = 0.2

    @property
    def quality_margins(self) -> dict[str, float]:
        """The margins that are set, by the figure that they are of."""
        margins = {"auc": self.auc_margin, "average_precision": self.average_precision_margin}
        return {figure: margin for figure, margin in margins.items() if margin is not None}


@dataclass(frozen=True)
class _Range:
    """The numbers that a bound may have: above `least` (or equal to it), and at most `most`."""

    least: float
    least_is_allowed: bool
    most: float
    words: str

    def has(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        above = value >= self.least if self.least_is_allowed else value > self.least
        return above and value <= self.most and math.isfinite(value)


_PART = _Range(0, False, 1, "a number above 0, at most 1")
_SHARE = _Range(0, True, 1, "a number from 0 to 1")
_POSITIVE = _Range(0, False, math.inf, "a number above 0")
_RATIO = _Range(1, True, math.inf, "a number of at least 1")
_RANGES = {
    "auc_margin": _PART,
    "average_precision_margin": _PART,
    "calibration_error": _PART,
    "segment_auc_margin": _PART,
    "segment_calibration_margin": _PART,
    "changed_labels": _SHARE,
    "score_shift": _POSITIVE,
    "one_row_ms": _POSITIVE,
    "thousand_rows_ms": _POSITIVE,
    "latency_ratio": _RATIO,
    "canary_errors": _SHARE,
    "canary_disagreement": _SHARE,
}
# Written where a bound has no default of its own.
_EXAMPLES = {"changed_labels": 0.1, "score_shift": 0.25}


def gates_findings(gates: object) -> Iterator[Finding]:
    """What is wrong with the bounds themselves; that columns exist is seen with the contracts."""
    if not isinstance(gates, Gates):
        yield Finding("gates", f"it is {type(gates).__name__}, not Gates", "gates=Gates()")
        return
    defaults = {one.name: one.default for one in fields(Gates)}
    for name, allowed in _RANGES.items():
        value = getattr(gates, name)
        if value is not None and not allowed.has(value):
            default = _EXAMPLES.get(name, defaults[name])
            yield Finding(
                "gates",
                f"{name} is {value!r}, not {allowed.words}; None stops nothing",
                f"Gates({name}={default})",
            )
    yield from _segment_findings(gates.segments)
    if gates.recreated not in get_args(Recreated):
        yield Finding(
            "gates",
            f"recreated is {gates.recreated!r}, not one of {', '.join(get_args(Recreated))}",
            'Gates(recreated="require")',
        )
    if not isinstance(gates.approval, bool):
        yield Finding(
            "gates", f"approval is {gates.approval!r}, not True or False", "Gates(approval=True)"
        )


def _segment_findings(segments: object) -> Iterator[Finding]:
    if isinstance(segments, str):
        yield Finding(
            "gates", f"segments is one text, {segments!r}", f'Gates(segments=("{segments}",))'
        )
        return
    if not isinstance(segments, tuple | list):
        yield Finding(
            "gates", "segments isn't a tuple of columns", 'Gates(segments=("table.column",))'
        )
        return
    for segment in segments:
        if not isinstance(segment, str) or not re.fullmatch(r"[^.]+\..+", segment):
            yield Finding(
                "gates",
                f"the segment {segment!r} isn't a column as table.column",
                f'Gates(segments=("table.{segment}",))',
            )
    for segment in sorted({one for one in segments if segments.count(one) > 1}, key=str):
        yield Finding(
            "gates", f"the segment {segment!r} is there more than once", "each segment once"
        )
