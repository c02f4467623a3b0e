"""Which version may go to Production, and which one a rollback returns to: pure decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamflow.errors import GateFailed


@dataclass(frozen=True)
class Gate:
    name: str
    passed: bool
    said: str


@dataclass(frozen=True)
class Verdict:
    gates: tuple[Gate, ...]

    @property
    def passed(self) -> bool:
        return all(gate.passed for gate in self.gates)

    def as_dict(self) -> dict[str, str]:
        return {
            gate.name: f"{'passed' if gate.passed else 'failed'}: {gate.said}"
            for gate in self.gates
        }


def judge(metrics: Mapping[str, float], acceptance: Mapping[str, float]) -> Verdict:
    """Hold a version's metrics against the use case's acceptance bar."""
    gates = []
    for name, bar in acceptance.items():
        value = metrics.get(name)
        said = (
            f"{name} is {value:.4f}, at least {bar} is asked"
            if value is not None
            else "not measured"
        )
        gates.append(Gate(name, value is not None and value >= bar, said))
    return Verdict(tuple(gates))


def require(verdict: Verdict, version: int) -> None:
    """Raises GateFailed, naming the gates, if the version may not go to Production."""
    failed = [gate for gate in verdict.gates if not gate.passed]
    if failed:
        raise GateFailed(
            f"Version {version} may not go to Production: "
            f"{'; '.join(gate.said for gate in failed)}.",
            "Train a better one with `streamflow train`, or change the use case's acceptance bar.",
        )
