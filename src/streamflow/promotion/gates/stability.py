"""The gate *stability*: for how many entities the answer changes, and by how much the scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamflow.promotion.gates.result import GateResult, Versions
from streamflow.training.served_model import Labels, Matrix
from streamflow.training.statistics.score_shift import population_stability_index
from streamflow.use_case.gates import Gates

GATE = "stability"


@dataclass(frozen=True)
class ScoredPair:
    """What two versions answer for the same entities, on their newest features; no label is needed.

    Labels are each model's own (0 or 1), scores probabilities of 1; each is one per entity:
    (entities,).
    """

    candidate_labels: Labels
    current_labels: Labels
    candidate_scores: Matrix
    current_scores: Matrix


def stability_gate(facts: ScoredPair | None, gates: Gates, versions: Versions) -> GateResult:
    """Passed if both figures are within the use case's bounds, or it has none.

    `facts` is None if no version is in Production, or nobody could be scored by both.
    """
    if versions.current is None:
        return GateResult(
            GATE, "passed", "There is nothing to compare with: no version is in Production."
        )
    bounded = gates.changed_labels is not None or gates.score_shift is not None
    if facts is None or not len(facts.candidate_scores):
        said = f"No entity has the features of both version {versions.candidate} and version "
        said += f"{versions.current}."
        if not bounded:
            return GateResult(GATE, "passed", f"{said} The use case sets no bound.")
        return GateResult(
            GATE,
            "can't tell",
            said,
            "Bring the features of the newest month with `streamflow materialize`.",
        )
    entities = len(facts.candidate_scores)
    changes = facts.candidate_labels != facts.current_labels
    changed = int(np.sum(changes))
    to_true = int(np.sum(changes & (facts.candidate_labels == 1)))
    share = changed / entities
    shift = population_stability_index(facts.current_scores, facts.candidate_scores)
    figures = {
        "entities": entities,
        "changed_labels": changed,
        "changed_to_true": to_true,
        "changed_to_false": changed - to_true,
        "changed_share": share,
        "score_shift": shift,
        "mean_score": float(np.mean(facts.candidate_scores)),
        "current_mean_score": float(np.mean(facts.current_scores)),
    }
    message = (
        f"Against version {versions.current}, {changed:,} of {entities:,} entities "
        f"({share:.1%}) get another label, {to_true:,} of them true; the scores shift by "
        f"{shift:.3f} (population stability index)."
    )
    broken = []
    if gates.changed_labels is not None and share > gates.changed_labels:
        broken.append(f"at most {gates.changed_labels:.1%} of the labels may change")
    if gates.score_shift is not None and shift > gates.score_shift:
        broken.append(f"the shift may be at most {gates.score_shift:g}")
    if broken:
        return GateResult(
            GATE,
            "failed",
            f"{message} But {' and '.join(broken)}.",
            f"See who changes with `streamflow compare {versions.current} {versions.candidate}`, "
            "or change the bound in the use case's gates.",
            figures,
        )
    return GateResult(
        GATE,
        "passed",
        message if bounded else f"{message} The use case sets no bound.",
        figures=figures,
    )
