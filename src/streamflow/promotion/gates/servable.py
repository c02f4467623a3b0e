"""The gate *servable*: the store, the API and the proof of the served form allow this version."""

from __future__ import annotations

from dataclasses import dataclass

from streamflow.promotion.gates.result import GateResult, Versions

GATE = "servable"


@dataclass(frozen=True)
class Servable:
    """What was found about serving a version, as the store and the API are now.

    `store_problems` are clauses of what the store lacks: the feature service, a feature, its type,
    its nullability. `load_problem` says why the model can't be loaded as the API loads it.
    `proved_rows` is on how many rows the served form's scores were equal to the estimator's, None
    if that isn't recorded, and `different_rows` on how many they weren't. `unknown` says what
    couldn't be found out. A version that was `served_before` needs no proof.
    """

    store_problems: tuple[str, ...] = ()
    load_problem: str | None = None
    proved_rows: int | None = None
    different_rows: int = 0
    unknown: str | None = None
    served_before: bool = False


def servable_gate(facts: Servable, versions: Versions) -> GateResult:
    """Passed if nothing was found that keeps the version from being served as it was trained."""
    version = versions.candidate
    figures = {
        "store_problems": list(facts.store_problems),
        "load_problem": facts.load_problem,
        "proved_rows": facts.proved_rows,
        "different_rows": facts.different_rows,
    }
    if facts.store_problems:
        return GateResult(
            GATE,
            "failed",
            f"The store can't serve version {version}: {'; '.join(facts.store_problems)}.",
            "Apply the definitions that it was trained with (`streamflow apply`), or train on "
            "what the store has: `streamflow train`.",
            figures,
        )
    if facts.load_problem is not None:
        return GateResult(
            GATE,
            "failed",
            f"The API can't load the model of version {version}: {facts.load_problem}.",
            "Train again with `streamflow train`.",
            figures,
        )
    if facts.different_rows:
        return GateResult(
            GATE,
            "failed",
            f"The served form's score differs from the estimator's on {facts.different_rows:,} of "
            f"{facts.different_rows + (facts.proved_rows or 0):,} rows.",
            "Train again with `streamflow train`.",
            figures,
        )
    if facts.unknown is not None:
        return GateResult(
            GATE,
            "can't tell",
            f"Whether version {version} can be served isn't known: {facts.unknown}.",
            f"See `streamflow status`, then run `streamflow check {version}` again.",
            figures,
        )
    if facts.served_before:
        return GateResult(
            GATE,
            "passed",
            f"The store has every feature with its type, and the model loads: version {version} "
            "served before.",
            figures=figures,
        )
    if facts.proved_rows is None:
        return GateResult(
            GATE,
            "can't tell",
            f"No proof is recorded that the served form of version {version} has the estimator's "
            "scores.",
            "Train again with `streamflow train`, which proves it.",
            figures,
        )
    return GateResult(
        GATE,
        "passed",
        "The store has every feature with its type and nullability, the model loads, and its "
        f"scores are the estimator's on {facts.proved_rows:,} rows.",
        figures=figures,
    )
