"""The gate *quality*: not worse than the version in Production, nor below the acceptance bar.

docs/decisions/0017 says how it is decided and how often it errs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from streamflow.promotion.gates.acceptance import Bar, acceptance_bars
from streamflow.promotion.gates.judged_pair import JudgedPair
from streamflow.promotion.gates.judging_rows import expected_to_do, rounded
from streamflow.promotion.gates.pair_quality import PairQuality, pair_quality
from streamflow.promotion.gates.result import GateResult, Outcome, Versions
from streamflow.use_case.gates import Gates

GATE = "quality"


@dataclass(frozen=True)
class RecordedFigures:
    """The candidate's figures by the names that its run has them under, and in a sentence which
    rows they are of."""

    metrics: Mapping[str, float]
    judged_on: str = ""


def quality_gate(
    pairs: Sequence[JudgedPair],
    recorded: RecordedFigures,
    acceptance: Mapping[str, float],
    gates: Gates,
    versions: Versions,
    random_state: int,
) -> GateResult:
    """Passed if the candidate is shown not to be worse than the current version by more than the
    margin.

    On the rows of each pair, the 95 % interval of the difference (candidate minus current) in AUC
    and in average precision is above minus the margin: passed; that of one figure is below it:
    failed; else it can't be told. The gate fails if one pair does, and passes if one passes and
    none fails. It also fails if a recorded figure is below the acceptance bar, or the 95 % interval
    of the candidate's own figure on the rows of a pair is.
    """
    margins = gates.quality_margins
    bars = acceptance_bars(recorded.metrics, acceptance)
    judged = [pair_quality(pair, margins, acceptance, versions, random_state) for pair in pairs]
    outcome, conclusion, what_to_do = _below_the_bar(bars, judged, recorded, versions) or _compared(
        judged, margins, versions
    )
    reached = "; ".join(bar.message for bar in bars if bar.outcome == "passed")
    said = [conclusion, *(one.sentence for one in judged)]
    if reached:
        said.append(f"By its own figures, {reached}.")
    return GateResult(
        GATE,
        outcome,
        " ".join(said),
        what_to_do,
        figures={
            "acceptance": {
                bar.figure: {
                    "outcome": bar.outcome,
                    "value": recorded.metrics.get(bar.figure),
                    "least": acceptance[bar.figure],
                }
                for bar in bars
            },
            "judged_on": recorded.judged_on,
            "margins": margins,
            "pairs": [one.figures for one in judged],
        },
    )


def _below_the_bar(
    bars: Sequence[Bar],
    judged: Sequence[PairQuality],
    recorded: RecordedFigures,
    versions: Versions,
) -> tuple[Outcome, str, str] | None:
    below = [bar.message for bar in bars if bar.outcome == "failed"]
    clauses = [*below, *(clause for one in judged for clause in one.below)]
    if clauses:
        judged_on = f" {recorded.judged_on}" if below and recorded.judged_on else ""
        return (
            "failed",
            f"Version {versions.candidate} is below the acceptance bar: {'; '.join(clauses)}."
            f"{judged_on}",
            "Train a better one with `streamflow train`, or change the use case's acceptance bar.",
        )
    unknown = [bar.message for bar in bars if bar.outcome == "can't tell"]
    if unknown:
        return (
            "can't tell",
            f"Whether version {versions.candidate} reaches the acceptance bar isn't known: "
            f"{'; '.join(unknown)}.",
            "Load more labels with `streamflow ingest`, and train again.",
        )
    return None


def _compared(
    judged: Sequence[PairQuality], margins: Mapping[str, float], versions: Versions
) -> tuple[Outcome, str, str]:
    if versions.current is None:
        return "passed", "There is nothing to compare with: no version is in Production.", ""
    if not margins:
        return "passed", "The use case sets no margin, so nothing is compared.", ""
    outcomes = [one.outcome for one in judged]
    ours, theirs = f"ersion {versions.candidate}", f"version {versions.current}"
    if "failed" in outcomes:
        return (
            "failed",
            f"V{ours} is worse than {theirs} by more than the margin.",
            "See where they differ with "
            f"`streamflow compare {versions.current} {versions.candidate}`, or train a better one "
            "with `streamflow train`.",
        )
    if "passed" in outcomes:
        return "passed", f"V{ours} isn't worse than {theirs} by more than the margin.", ""
    return (
        "can't tell",
        f"Whether v{ours} is worse than {theirs} by more than the margin can't be told: "
        f"{_missing(judged, margins, theirs)}.",
        "Load the labels of another month with `streamflow ingest`, or promote it all the same "
        f"with `streamflow promote {versions.candidate} --to production --override {GATE} "
        "--why TEXT`.",
    )


def _missing(judged: Sequence[PairQuality], margins: Mapping[str, float], current: str) -> str:
    compared = [one for one in judged if one.outcome is not None]
    if judged and not compared:
        return f"{current} has no scores to compare with"
    if not compared:
        needed = max(expected_to_do(figure, margin) for figure, margin in margins.items())
        return (
            "there are no rows with known labels that neither was trained on, or its twin; some "
            f"{rounded(needed)} of either label would do"
        )
    nearest = min(compared, key=lambda one: one.needed / max(one.rows, 1))
    if nearest.needed == inf:
        return "the difference is too near to the margin"
    return (
        f"{nearest.rows:,} rows with the label {nearest.label} are too few, about "
        f"{rounded(nearest.needed)} would do"
    )
