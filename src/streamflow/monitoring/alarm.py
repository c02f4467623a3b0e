"""An alarm, and a figure of the month that is kept beside the alarms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["critical", "warning"]
# What a figure is of.
Subject = Literal["feature", "score", "quality", "estimate", "skew", "data"]

# The rules in the order in which their alarms are told: what went wrong with the files first, as
# the others may follow from it.
DATA_RULES = (
    *("late table", "late labels", "another month's rows", "volume", "missing rows"),
    "corrections",
)
FEATURE_RULES = ("missing", "categories", "unit", "scale", "range", "shift")
SCORE_RULES = ("score", "share above")
QUALITY_RULES = ("quality", "calibration", "estimate")
RULES = (*DATA_RULES, *FEATURE_RULES, "skew", *QUALITY_RULES, *SCORE_RULES)

TRAINING, MONTH_BEFORE = "training", "month before"


@dataclass(frozen=True)
class Alarm:
    """What a rule found of a feature, a table or a segment.

    `figure` is beyond `bound`, which the use case sets. `compared_with` is "training", "month
    before", or empty where nothing is compared. `sentence` says it in words.
    """

    rule: str
    what: str
    severity: Severity
    figure: float
    bound: float
    compared_with: str
    sentence: str


@dataclass(frozen=True)
class Figure:
    """Figures of a feature, a table or a segment, by name; `figures` becomes JSON."""

    subject: Subject
    what: str
    compared_with: str
    figures: Mapping[str, Any]


def in_order(alarms: Iterable[Alarm]) -> tuple[Alarm, ...]:
    """The critical ones first, then by the order of the rules, the larger figure first."""

    def place(alarm: Alarm) -> tuple[object, ...]:
        far = abs(alarm.figure) / alarm.bound if alarm.bound else abs(alarm.figure)
        return alarm.severity != "critical", RULES.index(alarm.rule), -far, alarm.what

    return tuple(sorted(alarms, key=place))
