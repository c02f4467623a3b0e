"""The gates: which version may go to Production. Pure decisions, without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamflow.errors import GateFailed
from streamflow.training.evaluation import FEWEST_OF_A_CLASS, can_tell


@dataclass(frozen=True)
class Gate:
    """One metric compared with the use case's acceptance bar; `message` is the result in words."""

    name: str
    passed: bool
    message: str


@dataclass(frozen=True)
class GateReport:
    """The results of all gates for one version; `judged_on` says which rows its metrics are of."""

    gates: tuple[Gate, ...]
    judged_on: str = ""

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates)

    def as_dict(self) -> dict[str, str]:
        """The results in words by the gate's name, as the promotion's record has them."""
        results = {
            gate.name: f"{'passed' if gate.passed else 'failed'}: {gate.message}"
            for gate in self.gates
        }
        return {**results, "judged_on": self.judged_on} if self.judged_on else results


def check_gates(
    metrics: Mapping[str, float], acceptance: Mapping[str, float], judged_on: str = ""
) -> GateReport:
    """Compare a version's metrics with the use case's acceptance bar, the least allowed values.

    A metric of too few rows to tell anything passes no gate.
    """
    gates = []
    for name, bar in acceptance.items():
        value = metrics.get(name)
        if value is not None and not can_tell(metrics):
            message = (
                f"{name} can't be told: fewer than {FEWEST_OF_A_CLASS} rows of a label judged it "
                f"({value:.4f} by those), {FEWEST_OF_A_CLASS} of each would do"
            )
            gates.append(Gate(name, False, message))
            continue
        message = (
            f"{name} is {value:.4f}, at least {bar} is asked"
            if value is not None
            else "not measured"
        )
        gates.append(Gate(name, value is not None and value >= bar, message))
    return GateReport(tuple(gates), judged_on)


def require_passed(report: GateReport, version: int) -> None:
    """Raises GateFailed with the failed gates, if there are any."""
    failed = [gate for gate in report.gates if not gate.passed]
    if failed:
        raise GateFailed(
            f"Version {version} may not go to Production: "
            f"{'; '.join(gate.message for gate in failed)}."
            f"{f' {report.judged_on}' if report.judged_on else ''}",
            "Train a better one with `streamflow train`, or change the use case's acceptance bar.",
        )
