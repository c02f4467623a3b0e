"""Whether a month's challenger goes to Production, by what its gates said. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from streamflow.promotion.gates.result import GateReport

Policy = Literal["never", "if-better", "always-if-passed"]
_FIGURES = {"auc": "AUC", "average_precision": "average precision"}


@dataclass(frozen=True)
class Decision:
    """Whether to promote, and why in a clause."""

    promote: bool
    why: str


def decide(report: GateReport, policy: Policy) -> Decision:
    """What the policy says of a version whose gates passed.

    By "if-better", the 95 % interval of the difference in AUC or in average precision has to be
    above zero on the rows of one comparison, and no such interval may be below zero. Without a
    version in Production there is nothing to compare with, and the version is promoted.
    """
    ours = f"version {report.version}"
    if policy == "never":
        return Decision(False, f"{ours} passed its gates, and --promote never leaves it there")
    if report.against is None:
        return Decision(True, f"{ours} passed its gates, and no version was in Production")
    theirs = f"version {report.against}"
    if policy == "always-if-passed":
        return Decision(True, f"{ours} passed its gates against {theirs}")
    higher, lower = [], []
    for figure, difference in _differences(report):
        said = (
            f"{_FIGURES[figure]} {difference['value']:+.4f} "
            f"({difference['low']:+.4f} to {difference['high']:+.4f})"
        )
        higher += [said] if difference["low"] > 0 else []
        lower += [said] if difference["high"] < 0 else []
    if lower:
        return Decision(False, f"{ours} is worse than {theirs} in a figure: {lower[0]}")
    if higher:
        return Decision(True, f"{ours} is better than {theirs}: {higher[0]}")
    return Decision(False, f"{ours} passed its gates, and isn't shown to be better than {theirs}")


def _differences(report: GateReport) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for gate in report.results:
        for pair in gate.figures.get("pairs", []) if gate.gate == "quality" else []:
            for figure in _FIGURES:
                difference = (pair.get(figure) or {}).get("difference")
                if difference is not None:
                    yield figure, difference
