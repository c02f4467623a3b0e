"""Versions that went to Production in spite of a gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from streamflow.promotion.admission.admitted import same_model
from streamflow.promotion.change import Change


@dataclass(frozen=True)
class Override:
    """`version` went to Production at `at` (UTC) in spite of `gate`, and said `message`."""

    version: int
    gate: str
    outcome: str
    message: str
    who: str
    why: str
    at: datetime

    def as_dict(self) -> dict[str, object]:
        """What the API tells of it to everybody: not who it was."""
        return {
            "gate": self.gate,
            "outcome": self.outcome,
            "why": self.why,
            "at": self.at.isoformat(),
        }

    def __str__(self) -> str:
        """The override in a sentence."""
        said = "failed" if self.outcome == "failed" else "couldn't be told"
        return (
            f"Version {self.version} went to Production on {self.at:%Y-%m-%d} by {self.who} in "
            f"spite of the gate {self.gate}, which {said}: {self.why}."
        )


def overrides_of(changes: Sequence[Change], version: int, model_hash: str) -> list[Override]:
    """Those of the version with this model, in their order."""
    its_own = [one for one in changes if one.version == version and same_model(one, model_hash)]
    return overrides(its_own)


def overrides(changes: Sequence[Change]) -> list[Override]:
    """All overrides in the changes, in their order."""
    return [
        Override(
            *(change.version, gate["gate"], gate["outcome"], gate["message"]),
            *(change.who, gate["override"], change.at),
        )
        for change in changes
        if change.kind == "promoted" and change.version is not None
        # Promotions of old have texts by gate, and no override.
        for gate in change.details.get("gates", [])
        if isinstance(gate, dict) and gate.get("override") is not None
    ]
