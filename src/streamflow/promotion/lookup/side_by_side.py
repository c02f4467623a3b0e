"""Two versions on the same rows: their figures, who changes side, and segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from streamflow.lineage.judged_version import judged_version
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.promotion.check_version import RANDOM_STATE
from streamflow.promotion.facts.judged_months import JudgedMonth, judged_months
from streamflow.promotion.facts.judged_pairs import judged_pairs
from streamflow.promotion.gates.judging_rows import at_most_enough, too_few
from streamflow.promotion.gates.segment_comparison import compare_segments, segments_of
from streamflow.training.statistics.comparison import Comparison, compare

MOST_EXAMPLES = 20
NO_ROWS = "There are no rows that neither version was fitted to: their figures can't be compared."


@dataclass(frozen=True)
class ChangedSide:
    """An entity whose label differs between the versions, with its score by each."""

    entity_id: str
    first: float
    second: float


@dataclass(frozen=True)
class SideBySide:
    """Two versions on the rows of `source`, which neither was fitted to; empty without any.

    `figures` are by name, each with its interval, and the second's minus the first's. Of `scored`
    entities of the newest month with labels, `changed` change side, `to_true` of them to true by
    the second; the `examples` are those whose scores differ most. `segments` are as
    `SegmentComparison` has them, the second's minus the first's.
    """

    first: int
    second: int
    sentence: str
    source: str
    rows: int
    positives: int
    figures: Mapping[str, Comparison]
    scored: int
    changed: int
    to_true: int
    examples: Sequence[ChangedSide]
    segments: Sequence[Mapping[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON has it."""
        figures = {
            name: {"first": one.current, "second": one.candidate, "difference": one.difference}
            for name, one in self.figures.items()
        }
        return {
            **{name: value for name, value in asdict(self).items() if name != "figures"},
            "figures": {
                name: {
                    which: None if found is None else found.as_dict()
                    for which, found in one.items()
                }
                for name, one in figures.items()
            },
        }


def side_by_side(
    platform: Platform, first: int, second: int, now: datetime, progress: Progress = silent
) -> SideBySide:
    """Compare both by the files that are served, as known at `now` (UTC).

    Raises UnknownVersion, UnknownRun, UnservableModel, FeatureStoreUnavailable, MlflowUnavailable.
    """
    progress("load both")
    one, other = (
        judged_version(platform, platform.registry.version(version)) for version in (first, second)
    )
    progress("score what is known by now")
    months = judged_months(platform, other, one, now)
    progress("compare")
    pair = next(iter(judged_pairs(months)), None)
    figures: Mapping[str, Comparison] = {}
    segments: list[Mapping[str, Any]] = []
    if pair is not None and not too_few(pair):
        used = at_most_enough(pair, RANDOM_STATE)
        figures = compare(
            used.labels, used.candidate_scores, used.current_scores, used.entities, RANDOM_STATE
        )
        gates = platform.use_case.gates
        columns = [column for column in gates.segments if column in pair.segments]
        found = compare_segments([*segments_of(pair, columns)], gates, RANDOM_STATE)
        segments = [segment.as_dict() for segment in found]
    sides = _sides(months.newest)
    return SideBySide(
        first,
        second,
        _sentence(first, second, figures),
        pair.source if pair is not None else "",
        pair.rows if pair is not None else 0,
        pair.positives if pair is not None else 0,
        figures,
        *sides,
        segments,
    )


def _sentence(first: int, second: int, figures: Mapping[str, Comparison]) -> str:
    difference = figures["auc"].difference if "auc" in figures else None
    if difference is None:
        return NO_ROWS
    if difference.low > 0:
        return f"Version {second} ranks better than version {first}, and not by chance."
    if difference.high < 0:
        return f"Version {second} ranks worse than version {first}, and not by chance."
    return f"Version {second} and version {first} can't be told apart by their AUC."


def _sides(month: JudgedMonth | None) -> tuple[int, int, int, list[ChangedSide]]:
    if month is None or month.current_predictions is None or month.current_scores is None:
        return 0, 0, 0, []
    changed = np.flatnonzero(month.candidate_predictions != month.current_predictions)
    to_true = int(np.count_nonzero(month.candidate_predictions[changed] == 1))
    apart = np.abs(month.candidate_scores - month.current_scores)[changed]
    farthest = changed[np.argsort(-apart, kind="stable")][:MOST_EXAMPLES]
    examples = [
        ChangedSide(
            month.entities[row],
            float(month.current_scores[row]),
            float(month.candidate_scores[row]),
        )
        for row in farthest.tolist()
    ]
    return len(month.entities), len(changed), to_true, examples
