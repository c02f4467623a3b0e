"""The acceptance bar: the least values of a version's own figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamflow.errors import GateFailed
from streamflow.promotion.gates.result import Outcome
from streamflow.training.evaluation import FEWEST_OF_A_CLASS, can_tell


@dataclass(frozen=True)
class Bar:
    """One figure compared with the least value that the use case asks; `message` is a clause."""

    figure: str
    outcome: Outcome
    message: str


def acceptance_bars(metrics: Mapping[str, float], acceptance: Mapping[str, float]) -> list[Bar]:
    """Compare a version's figures, as its run has them, with the use case's acceptance bar.

    A figure of too few rows can't be told.
    """
    bars = []
    for name, least in acceptance.items():
        value = metrics.get(name)
        if value is None:
            bars.append(Bar(name, "failed", f"{name} isn't measured, at least {least} is asked"))
        elif not can_tell(metrics):
            message = (
                f"{name} can't be told: fewer than {FEWEST_OF_A_CLASS} rows of a label judged it "
                f"({value:.4f} by those), {FEWEST_OF_A_CLASS} of each would do"
            )
            bars.append(Bar(name, "can't tell", message))
        else:
            message = f"{name} is {value:.4f}, at least {least} is asked"
            bars.append(Bar(name, "passed" if value >= least else "failed", message))
    return bars


@dataclass(frozen=True)
class AcceptanceReport:
    """The bars of one version; `judged_on` says which rows its metrics are of."""

    gates: tuple[Bar, ...]
    judged_on: str = ""

    @property
    def passed(self) -> bool:
        """Whether every bar is reached."""
        return all(bar.outcome == "passed" for bar in self.gates)

    def as_dict(self) -> dict[str, str]:
        """The results in words by the figure's name, as the promotion's record has them."""
        results = {
            bar.figure: f"{'passed' if bar.outcome == 'passed' else 'failed'}: {bar.message}"
            for bar in self.gates
        }
        return {**results, "judged_on": self.judged_on} if self.judged_on else results


def check_gates(
    metrics: Mapping[str, float], acceptance: Mapping[str, float], judged_on: str = ""
) -> AcceptanceReport:
    """Compare a version's metrics with the use case's acceptance bar, the least allowed values."""
    return AcceptanceReport(tuple(acceptance_bars(metrics, acceptance)), judged_on)


def require_passed(report: AcceptanceReport, version: int) -> None:
    """Raises GateFailed with the bars that aren't reached, if there are any."""
    failed = [bar for bar in report.gates if bar.outcome != "passed"]
    if failed:
        raise GateFailed(
            f"Version {version} may not go to Production: "
            f"{'; '.join(bar.message for bar in failed)}."
            f"{f' {report.judged_on}' if report.judged_on else ''}",
            "Train a better one with `streamflow train`, or change the use case's acceptance bar.",
        )
