"""The segments of judged rows, and how the candidate does in each against the current version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamflow.promotion.gates.judged_pair import JudgedPair
from streamflow.promotion.gates.judging_rows import at_most_enough, too_few
from streamflow.training.statistics.comparison import Interval, calibration_shift, compare
from streamflow.use_case.gates import Gates

# Of a column with more values, the most frequent ones are looked at.
MOST_VALUES = 20


@dataclass(frozen=True)
class Segment:
    """The rows of a pair that have a value in a column; `value` is None for null."""

    column: str
    value: object
    pair: JudgedPair

    @property
    def name(self) -> str:
        """The segment in words."""
        value = "null" if self.value is None else str(self.value)
        return f"{self.column} = {value} on {self.pair.source}"


@dataclass(frozen=True)
class SegmentComparison:
    """`auc` is the candidate's AUC minus the current version's, `calibration` by how much farther
    its mean score is from the share of true labels; None where the use case sets no margin. Their
    intervals are as wide as the number of looks asks for."""

    segment: Segment
    auc: Interval | None
    calibration: Interval | None
    gates: Gates

    @property
    def falls(self) -> bool:
        """Whether the AUC is lower by more than the margin, and lower not by chance."""
        margin = self.gates.segment_auc_margin
        return (
            self.auc is not None
            and margin is not None
            and self.auc.value < -margin
            and self.auc.high < 0
        )

    @property
    def drifts(self) -> bool:
        """Whether the mean score is farther off by more than the margin, and not by chance."""
        margin = self.gates.segment_calibration_margin
        return (
            self.calibration is not None
            and margin is not None
            and self.calibration.value > margin
            and self.calibration.low > 0
        )

    @property
    def too_small(self) -> bool:
        """Whether a fall of twice the margin might not be seen."""
        margins = (
            (self.auc, self.gates.segment_auc_margin),
            (self.calibration, self.gates.segment_calibration_margin),
        )
        return any(
            found is not None and margin is not None and found.width > 2 * margin
            for found, margin in margins
        )

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON has it."""
        value = self.segment.value
        return {
            "column": self.segment.column,
            "value": value if isinstance(value, str | bool | int | None) else str(value),
            "source": self.segment.pair.source,
            "rows": self.segment.pair.rows,
            "positives": self.segment.pair.positives,
            "by_twins_of": list(self.segment.pair.twins),
            "auc_difference": None if self.auc is None else self.auc.as_dict(),
            "calibration_shift": None if self.calibration is None else self.calibration.as_dict(),
            "outcome": "failed"
            if self.falls or self.drifts
            else "too small"
            if self.too_small
            else "passed",
        }


def segments_of(pair: JudgedPair, columns: Sequence[str]) -> Iterator[Segment]:
    """The pair's segments by each of the columns, the most frequent values first."""
    for column in columns:
        values = pair.segments[column]
        for value, _ in Counter(values).most_common(MOST_VALUES):
            yield Segment(column, value, pair.at(np.array([one == value for one in values])))


def compare_segments(
    segments: Sequence[Segment], gates: Gates, random_state: int
) -> list[SegmentComparison]:
    """Compare both versions in each segment that has enough rows of each label.

    The intervals hold together with a probability of 95 %: each misses with 5 % divided by the
    number of looks (Bonferroni).
    """
    looked_at = [one for one in segments if not too_few(one.pair)]
    figures = [gates.segment_auc_margin, gates.segment_calibration_margin]
    looks = len(looked_at) * sum(margin is not None for margin in figures)
    return [_compared(one, gates, 0.05 / max(looks, 1), random_state) for one in looked_at]


def _compared(segment: Segment, gates: Gates, error: float, random_state: int) -> SegmentComparison:
    used = at_most_enough(segment.pair, random_state)
    labels, candidate, current = used.labels, used.candidate_scores, used.current_scores
    auc = shift = None
    if current is not None and gates.segment_auc_margin is not None:
        compared = compare(labels, candidate, current, used.entities, random_state)
        if (difference := compared["auc"].difference) is not None:
            auc = difference.at_level(error)
    if current is not None and gates.segment_calibration_margin is not None:
        found = calibration_shift(labels, candidate, current, used.entities, random_state)
        shift = found.at_level(error)
    return SegmentComparison(segment, auc, shift, gates)


def falls_in_words(compared: SegmentComparison) -> str:
    """What is worse in the segment, with its figures."""
    pair, gates, clauses = compared.segment.pair, compared.gates, []
    if compared.falls and compared.auc is not None:
        clauses.append(
            f"the AUC is {-compared.auc.value:.4f} lower ({compared.auc.low:+.4f} to "
            f"{compared.auc.high:+.4f}, margin -{gates.segment_auc_margin:g})"
        )
    if compared.drifts and compared.calibration is not None:
        clauses.append(
            f"the mean score is {compared.calibration.value:.4f} farther from the share of true "
            f"labels ({compared.calibration.low:+.4f} to {compared.calibration.high:+.4f}, margin "
            f"{gates.segment_calibration_margin:g})"
        )
    return (
        f"{compared.segment.name} ({pair.rows:,} rows, {pair.positives:,} true): "
        f"{' and '.join(clauses)}"
    )


def sizes(segments: Sequence[Segment]) -> Mapping[str, int]:
    """The rows of the rarer label, by the segment's name."""
    return {one.name: min(one.pair.positives, one.pair.negatives) for one in segments}
