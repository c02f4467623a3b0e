"""The gate *approval*: a second person agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamflow.promotion.gates.result import GateResult, Versions

GATE = "approval"


@dataclass(frozen=True)
class Approval:
    """Who approved the version, with this model, and why."""

    who: str
    why: str


def approval_gate(
    is_asked: bool,
    approvals: Sequence[Approval],
    trained_by: str | None,
    promoter: str | None,
    versions: Versions,
) -> GateResult:
    """Passed if the use case asks for no approval, or somebody else gave one.

    Somebody else is neither `trained_by`, None if that isn't recorded, nor the `promoter`, None if
    nobody promotes now. Each is an API key or a user of the operating system, by name.
    """
    figures = {
        "asked": is_asked,
        "approvals": [{"who": one.who, "why": one.why} for one in approvals],
        "trained_by": trained_by,
        "promoter": promoter,
    }
    if not is_asked:
        return GateResult(
            GATE, "passed", "The use case asks for no second person's approval.", figures=figures
        )
    involved = {one for one in (trained_by, promoter) if one is not None}
    counted = [one for one in approvals if one.who not in involved]
    if counted:
        first = counted[0]
        unknown = "" if trained_by else " Who trained it isn't recorded."
        return GateResult(
            GATE, "passed", f"{first.who} approved: {first.why}.{unknown}", figures=figures
        )
    names = " and ".join(dict.fromkeys(one.who for one in approvals))
    said = (
        f"Only {names} approved, who trained or promotes it"
        if approvals
        else f"Nobody has approved version {versions.candidate}"
    )
    return GateResult(
        GATE,
        "failed",
        f"{said}; the use case asks for a second person.",
        f"Somebody else runs `streamflow approve {versions.candidate} --why TEXT`.",
        figures,
    )
