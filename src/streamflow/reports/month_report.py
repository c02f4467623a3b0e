"""What the report of a month says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from streamflow.monitoring.alarm import Alarm, Figure


@dataclass(frozen=True)
class ReportedStep:
    """A step of the month; `done_at` is in UTC."""

    step: str
    outcome: str
    sentence: str
    done_at: datetime


@dataclass(frozen=True)
class ReportedScores:
    """Everyone's scores of a month by one version.

    `counts` are of scores in twenty bins of equal width from 0 to 1, `counts_before` those of the
    month before, empty without one. `deciles` are the mean scores of tenths of the entities, the
    highest first. `label_1` counts those whose label is 1. `bands` counts entities by the names of
    the use case's risk bands, the highest first. `refused` counts who has no score, by the reason.
    """

    version: int
    model_hash: str
    scored_at: datetime
    known_at: datetime
    entities: int
    departed: int
    refused: Mapping[str, int]
    mean: float | None
    label_1: int
    counts: Sequence[int]
    counts_before: Sequence[int]
    deciles: Sequence[float]
    bands: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportedReason:
    """Of how many entities a feature raises the score: as the `first` reason, and `among` the three
    reasons."""

    feature: str
    first: int
    among: int


@dataclass(frozen=True)
class ReportedMonitoring:
    """A monitoring of a month; `made_at` is in UTC."""

    as_of: date
    version: int
    made_at: datetime
    training_months: Sequence[date]
    month_before: date | None
    alarms: Sequence[Alarm]
    figures: Sequence[Figure]
    verdict: str
    advice: str

    def of(self, subject: str, compared_with: str | None = None) -> list[Figure]:
        """The figures of the subject, in their order."""
        return [
            one
            for one in self.figures
            if one.subject == subject and compared_with in (None, one.compared_with)
        ]


@dataclass(frozen=True)
class MonthReport:
    """A month as the report tells it. Without `monitoring` or `scores`, these weren't made yet.

    `entities` is what the entities are called, `label` what is predicted. `earlier` are the
    monitorings of the months before, oldest first. `explained` counts who has reasons.
    """

    use_case: str
    model: str
    as_of: date
    entities: str
    label: str
    monitoring: ReportedMonitoring | None
    earlier: Sequence[ReportedMonitoring]
    scores: ReportedScores | None
    reasons: Sequence[ReportedReason]
    explained: int
    steps: Sequence[ReportedStep]
