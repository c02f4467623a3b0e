"""The gate *segments*: nobody pays for the average.

docs/decisions/0017 says how it is decided.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamflow.promotion.gates.judged_pair import JudgedPair
from streamflow.promotion.gates.result import GateResult, Versions
from streamflow.promotion.gates.segment_comparison import (
    SegmentComparison,
    compare_segments,
    falls_in_words,
    segments_of,
    sizes,
)
from streamflow.use_case.gates import Gates

GATE = "segments"


def segments_gate(
    pairs: Sequence[JudgedPair], gates: Gates, versions: Versions, random_state: int
) -> GateResult:
    """Passed if in no segment the candidate is shown to be worse than the current version.

    In a segment, by a value of one of the use case's columns, the AUC must not fall by more than
    the margin, nor the mean score move away from the share of true labels. A segment counts if its
    difference is larger than the margin and isn't due to chance, for all segments together.
    Segments in which twice the margin might not be seen are named as too small.
    """
    if not gates.segments:
        return GateResult(GATE, "passed", "The use case names no segments.")
    if versions.current is None:
        return GateResult(
            GATE, "passed", "There is nothing to compare with: no version is in Production."
        )
    if gates.segment_auc_margin is None and gates.segment_calibration_margin is None:
        return GateResult(GATE, "passed", "The use case sets no margin for segments.")
    compared_pairs = [one for one in pairs if one.current_scores is not None]
    missing = sorted(
        {
            column
            for one in compared_pairs
            for column in gates.segments
            if column not in one.segments
        }
    )
    if not compared_pairs or missing:
        said = (
            f"The values of {', '.join(missing)} aren't known for the rows."
            if missing
            else f"Version {versions.current} has no scores to compare with."
            if pairs
            else "There are no rows with known labels that neither version was trained on."
        )
        return GateResult(
            GATE, "can't tell", said, "Load the month's files with `streamflow ingest`."
        )
    segments = [one for pair in compared_pairs for one in segments_of(pair, gates.segments)]
    compared = compare_segments(segments, gates, random_state)
    worse = [one for one in compared if one.falls or one.drifts]
    told = {one.segment.name for one in compared if one in worse or not one.too_small}
    small = {name: rows for name, rows in sizes(segments).items() if name not in told}
    figures = {
        "columns": list(gates.segments),
        "looks": len(compared),
        "segments": [one.as_dict() for one in compared],
        "too_small": small,
    }
    named = "; ".join(f"{name} ({rows:,} of the rarer label)" for name, rows in small.items())
    unseen = f" Too small to tell: {named}." if small else ""
    if worse:
        return GateResult(
            GATE,
            "failed",
            f"Version {versions.candidate} is worse than version {versions.current} for "
            f"{'; '.join(falls_in_words(one) for one in worse)}. The intervals hold with 95 % for "
            f"all segments together.{unseen}",
            "Train with more rows or features that tell these apart, with `streamflow train`.",
            figures,
        )
    if not told:
        return GateResult(
            GATE,
            "can't tell",
            f"No segment has enough rows.{unseen}",
            "Load the labels of another month with `streamflow ingest`, or name fewer segments in "
            "the use case's gates.",
            figures,
        )
    return GateResult(
        GATE,
        "passed",
        f"{_not_worse(len(told), versions)} by more than the margin.{_lowest(compared)}{unseen}",
        figures=figures,
    )


def _not_worse(segments: int, versions: Versions) -> str:
    said = f"version {versions.candidate} worse than version {versions.current}"
    if segments == 1:
        return f"In the only segment with enough rows {said.replace(' worse', ' is not worse')}"
    return f"In none of {segments} segments is {said}"


def _lowest(compared: Sequence[SegmentComparison]) -> str:
    differences = [(one.auc.value, one.segment.name) for one in compared if one.auc is not None]
    if not differences:
        return ""
    value, name = min(differences)
    return f" The lowest difference in AUC is {value:+.4f}, for {name}."
