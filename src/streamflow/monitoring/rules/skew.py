"""The rule about what was online: each logged prediction's values beside those of history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamflow.monitoring.alarm import Alarm, Figure
from streamflow.use_case import Monitoring

SCORE = "score"


@dataclass(frozen=True)
class SkewCounts:
    """Logged predictions that were replayed from history.

    `predictions` were logged, of which `unknown` can't be replayed. `differing` counts by feature
    how many had another value than history has, or another row; and under "score" how many have
    another score.
    """

    predictions: int
    unknown: int
    differing: Mapping[str, int]

    @property
    def compared(self) -> int:
        """How many were compared."""
        return self.predictions - self.unknown


def skew(counts: SkewCounts, bounds: Monitoring) -> tuple[list[Figure], list[Alarm]]:
    """The figures by feature, and an alarm for each that differs too often.

    History holds what was online, so that chance makes no difference: one needn't be tested for.
    """
    if not counts.predictions:
        return [], []
    figures, alarms = [], []
    for feature, differing in counts.differing.items():
        share = differing / counts.compared if counts.compared else 0.0
        figures.append(
            Figure(
                "skew",
                feature,
                "",
                {
                    "predictions": counts.predictions,
                    "compared": counts.compared,
                    "differing": differing,
                    "share": share,
                },
            )
        )
        if bounds.skew is not None and differing and share >= bounds.skew:
            alarms.append(
                Alarm(
                    "skew",
                    feature,
                    "critical" if share >= 0.01 else "warning",
                    share,
                    bounds.skew,
                    "",
                    f"{feature}: {differing:,} of {counts.compared:,} logged predictions had "
                    "another value online than history has.",
                )
            )
    return figures, alarms
