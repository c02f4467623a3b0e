"""The gate *recreated*: the version can be made again, to the last bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamflow.promotion.gates.result import GateResult, Versions
from streamflow.use_case.gates import Recreated

GATE = "recreated"


@dataclass(frozen=True)
class Recreation:
    """What `streamflow reproduce` says of the version's run.

    `verdict` is None if there is none and none was made. `why` is its reason in one sentence.
    `seconds` is how long it took if it was made now, None if it was recorded before.
    """

    run_id: str
    verdict: Literal["identical", "different", "forgotten", "can't tell"] | None
    why: str = ""
    seconds: float | None = None


def recreated_gate(facts: Recreation, rule: Recreated, versions: Versions) -> GateResult:
    """Passed with the verdict `identical`, and with any if the `rule` is to show it."""
    figures = {"run_id": facts.run_id, "verdict": facts.verdict, "seconds": facts.seconds}
    cost = "" if facts.seconds is None else f" It took {facts.seconds:,.1f} s now."
    command = f"`streamflow reproduce {facts.run_id}`"
    if facts.verdict == "identical":
        return GateResult(
            GATE,
            "passed",
            f"Made again, version {versions.candidate} is the same to the last bit.{cost}",
            figures=figures,
        )
    why = f" {facts.why}" if facts.why else ""
    if facts.verdict is None:
        said = f"Nobody has made version {versions.candidate} again."
    elif facts.verdict == "different":
        said = f"Made again, version {versions.candidate} is another model.{why}{cost}"
    else:
        said = f"Version {versions.candidate} couldn't be made again.{why}{cost}"
    if rule == "show":
        return GateResult(
            GATE, "passed", f"{said} The use case doesn't ask for more.", figures=figures
        )
    if facts.verdict == "different":
        return GateResult(
            GATE,
            "failed",
            said,
            f"See what differs with {command}, correct it, and train again.",
            figures,
        )
    return GateResult(
        GATE,
        "can't tell",
        said,
        "Train again, without those rows: `streamflow train`."
        if facts.verdict == "forgotten"
        else f'Make it again with {command}, or write Gates(recreated="show") in the use case.',
        figures,
    )
