"""What reproducing a run has shown, and how its run remembers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from streamflow.lineage.compare import Factor
from streamflow.lineage.compare_tables import Change
from streamflow.lineage.isolate import Restored
from streamflow.registry.records import Run

ReproductionVerdict = Literal["identical", "different", "can't tell"]


VERDICT_TAG = "streamflow.reproduced"
WHY_TAG = "streamflow.reproduced_why"


@dataclass(frozen=True)
class Reproduction:
    """The verdict on a run, with its reasons; `why` is the reason in one sentence.

    `factors` end with the model. `changes` are values of the training set that differ from the
    recorded ones, `source_changes` a unified diff of the code. `restored` has trainings with one
    factor restored, if several factors changed and the model differs. `next` says what to do, if
    anything. Times are UTC.
    """

    run_id: str
    version: int | None
    reproduced_at: datetime
    verdict: ReproductionVerdict
    why: str
    next: str = ""
    factors: list[Factor] = field(default_factory=list)
    restored: list[Restored] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    source_changes: list[str] = field(default_factory=list)

    @property
    def tags(self) -> dict[str, str]:
        """The run's tags that record the verdict."""
        return {
            VERDICT_TAG: self.verdict,
            "streamflow.reproduced_at": self.reproduced_at.isoformat(),
            WHY_TAG: self.why[:4000],
        }


def recorded_verdict(run: Run) -> ReproductionVerdict | None:
    """The verdict of the last reproduction of the run; None if there was none."""
    verdict = run.tags.get(VERDICT_TAG)
    return next((one for one in get_args(ReproductionVerdict) if one == verdict), None)
