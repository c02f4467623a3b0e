"""The gate *calibration*: a score is the share of true labels that it promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamflow.promotion.gates.judged_pair import JudgedPair
from streamflow.promotion.gates.judging_rows import at_most_enough, rarer, too_few
from streamflow.promotion.gates.result import GateResult, Outcome, Versions
from streamflow.training.evaluation import FEWEST_OF_A_CLASS
from streamflow.training.statistics.calibration import Calibration, calibration
from streamflow.use_case.gates import Gates

GATE = "calibration"


def calibration_gate(
    pairs: Sequence[JudgedPair], gates: Gates, versions: Versions, random_state: int
) -> GateResult:
    """Passed if the candidate's calibration error is within the use case's bound.

    On the rows of each pair: failed if the 95 % interval of the error is above the bound; passed if
    the error is within it, and the interval within twice the bound; else it can't be told. The gate
    fails if one pair does, and passes if one passes and none fails.
    """
    bound = gates.calibration_error
    judged = [_judged(pair, bound, random_state) for pair in pairs]
    outcomes = [one.outcome for one in judged]
    shown = " ".join(one.sentence for one in judged)
    figures = {"bound": bound, "pairs": [one.figures for one in judged]}
    if bound is None:
        said = f"{shown} The use case sets no bound.".strip()
        return GateResult(GATE, "passed", said, figures=figures)
    if "failed" in outcomes:
        return GateResult(
            GATE,
            "failed",
            f"The scores of version {versions.candidate} aren't the shares of true labels: they "
            f"are off by more than {bound:g}. {shown}",
            "Train again with corrected probabilities: `streamflow train --as-of DATE --calibrate "
            "sigmoid`.",
            figures,
        )
    if "passed" in outcomes:
        said = f"The calibration error is within {bound:g}. {shown}"
        return GateResult(GATE, "passed", said, figures=figures)
    return GateResult(
        GATE,
        "can't tell",
        f"Whether the calibration error of version {versions.candidate} is within {bound:g} can't "
        f"be told. {shown or 'No rows with known labels are there that it was not trained on.'}",
        "Load more labels with `streamflow ingest`, or promote it all the same with "
        f"`streamflow promote {versions.candidate} --to production --override {GATE} --why TEXT`.",
        figures,
    )


@dataclass(frozen=True)
class _Judged:
    outcome: Outcome
    sentence: str
    figures: Mapping[str, Any]


def _judged(pair: JudgedPair, bound: float | None, random_state: int) -> _Judged:
    figures: dict[str, Any] = {
        "source": pair.source,
        "rows": pair.rows,
        "positives": pair.positives,
        "by_twins_of": list(pair.twins),
    }
    if too_few(pair):
        rows, label = rarer(pair)
        return _Judged(
            "can't tell",
            f"On {pair.source} only {rows:,} of {pair.rows:,} rows have the label {label}, "
            f"{FEWEST_OF_A_CLASS} are needed.",
            figures,
        )
    used = at_most_enough(pair, random_state)
    found = calibration(used.labels, used.candidate_scores, used.entities, random_state)
    before = (
        None
        if used.current_scores is None
        else calibration(used.labels, used.current_scores, used.entities, random_state)
    )
    return _Judged(
        _outcome(found, bound),
        f"On {pair.source} the error is {found.error.value:.4f} (95 % interval "
        f"{found.error.low:.4f} to {found.error.high:.4f}), the mean score {found.mean_score:.4f} "
        f"where {found.share_true:.4f} are true, the Brier score {found.brier:.4f}"
        f"{'' if before is None else f' (before: {before.brier:.4f})'}.",
        {
            **figures,
            "rows": used.rows,
            "of_rows": pair.rows,
            "positives": used.positives,
            "candidate": _as_dict(found),
            "current": None if before is None else _as_dict(before),
        },
    )


def _outcome(found: Calibration, bound: float | None) -> Outcome:
    if bound is None:
        return "passed"
    if found.error.low > bound:
        return "failed"
    within = found.error.value <= bound and found.error.high <= 2 * bound
    return "passed" if within else "can't tell"


def _as_dict(found: Calibration) -> dict[str, Any]:
    return {
        "expected_calibration_error": found.error.as_dict(),
        "plain_error": found.plain_error,
        "brier": found.brier,
        "mean_score": found.mean_score,
        "share_true": found.share_true,
    }
