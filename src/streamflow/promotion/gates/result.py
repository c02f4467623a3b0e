"""What a gate says of a version, and what all gates say together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["passed", "failed", "can't tell"]

# In the order in which they are evaluated and shown.
GATES = (
    *("servable", "recreated", "quality", "calibration"),
    *("segments", "stability", "latency", "approval"),
)


@dataclass(frozen=True)
class Versions:
    """The version that a gate is about, and the one in Production, None if there is none."""

    candidate: int
    current: int | None


@dataclass(frozen=True)
class GateResult:
    """What one gate says.

    `message` is in whole sentences, with the figures that decide. `what_to_do` names the next
    command or line, and is empty if the gate passed. `figures` are numbers, texts, lists and
    mappings, as JSON has them.
    """

    gate: str
    outcome: Outcome
    message: str
    what_to_do: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the gate passed; what can't be told didn't."""
        return self.outcome == "passed"

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON has it."""
        return {
            "gate": self.gate,
            "outcome": self.outcome,
            "message": self.message,
            "what_to_do": self.what_to_do,
            "figures": dict(self.figures),
        }


@dataclass(frozen=True)
class GateReport:
    """What all gates say of `version`, compared with `against`, the one in Production if there is.

    `overrides` has, by the name of a gate, why the version goes to Production in spite of it.
    `model_hash` is of the model that was judged, empty if that isn't known.
    """

    version: int
    against: int | None
    results: tuple[GateResult, ...]
    overrides: Mapping[str, str] = field(default_factory=dict)
    model_hash: str = ""

    @property
    def stopped_by(self) -> tuple[GateResult, ...]:
        """The gates that didn't pass and aren't overridden."""
        return tuple(
            one for one in self.results if not one.passed and one.gate not in self.overrides
        )

    @property
    def overridden(self) -> tuple[GateResult, ...]:
        """The gates that didn't pass and are overridden."""
        return tuple(one for one in self.results if not one.passed and one.gate in self.overrides)

    @property
    def passed(self) -> bool:
        """Whether nothing keeps the version from Production."""
        return not self.stopped_by

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it; an override stands beside the result that it is for."""
        return {
            "version": self.version,
            "model_hash": self.model_hash,
            "against": self.against,
            "passed": self.passed,
            "gates": [
                {**one.as_dict(), "override": self.overrides.get(one.gate)} for one in self.results
            ],
        }
