"""The acceptance bar: the least values of a version's own figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
