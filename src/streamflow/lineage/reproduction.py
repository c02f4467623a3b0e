"""What reproducing a run has shown, and how its run remembers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from streamflow.lineage.compare import EXAMPLE, Factor
from streamflow.lineage.compare_tables import Change
from streamflow.lineage.isolate import Restored
from streamflow.registry.records import Run

ReproductionVerdict = Literal["identical", "different", "forgotten", "can't tell"]


TRAIN_AGAIN = "A version without those rows: `streamflow train`."

VERDICT_TAG = "streamflow.reproduced"
WHY_TAG = "streamflow.reproduced_why"


@dataclass(frozen=True)
class Reproduction:
    """The verdict on a run, with its reasons; `why` is the reason in one sentence.

    With "forgotten", rows of its data were forgotten since and all others are as they were: the
    model can't be made again. `forgotten` counts those rows, as far as is known.
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
    forgotten: int = 0

    @property
    def why_kept(self) -> str:
        """The reason without the entity that is named as an example: nothing kept has it."""
        return self.why.partition(EXAMPLE)[0]

    @property
    def tags(self) -> dict[str, str]:
        """The run's tags that record the verdict."""
        return {
            VERDICT_TAG: self.verdict,
            "streamflow.reproduced_at": self.reproduced_at.isoformat(),
            WHY_TAG: self.why_kept[:4000],
        }


def recorded_verdict(run: Run) -> ReproductionVerdict | None:
    """The verdict of the last reproduction of the run; None if there was none."""
    verdict = run.tags.get(VERDICT_TAG)
    return next((one for one in get_args(ReproductionVerdict) if one == verdict), None)


def reason(factors: list[Factor], restored: list[Restored], repeatable: bool) -> str:
    """The verdict's reason in one sentence; `factors` end with the model."""
    said = {one.name: one.said[0] for one in factors}
    changed = [one.name for one in factors[:-1] if not one.same]
    if factors[-1].same and "data" not in changed:
        although = ", although " + "; ".join(f"{name} moved: {said[name]}" for name in changed)
        return f"the same model to the last bit, from the same data{although if changed else ''}"
    if factors[-1].same:
        return f"data moved: {said['data']}; the model comes out the same to the last bit"
    if not changed:
        reason = "no factor moved, and the model is another"
        return reason if repeatable else f"{reason}: made twice today, it isn't the same either"
    for one in restored:
        if one.outcome == "recorded":
            cause = one.factor.split(" and ")
            others = " and ".join(name for name in changed if name not in cause)
            makes = "make" if len(cause) > 1 else "makes"
            none = f"; {others} moved too, without an effect of its own" if others else ""
            return f"{one.factor} {makes} the difference: {said[cause[0]]}{none}"
    also = f"; {' and '.join(changed[1:])} moved too" if changed[1:] else ""
    return f"{changed[0]} moved: {said[changed[0]]}{also}"


def forgotten_reason(factors: list[Factor]) -> str:
    """The reason where nothing has changed in the data but that rows were forgotten."""
    moved = [one.name for one in factors[1:-1] if not one.same]
    also = f"; {' and '.join(moved)} moved too" if moved else ""
    said = factors[0].said[0]
    return f"{said}, and the model can't be made again to the last bit{also}"


def unchecked_reason(people: int) -> str:
    """The reason where nobody can tell whether forgotten rows are all that has changed."""
    were = "1 person was" if people == 1 else f"{people:,} persons were"
    return (
        f"{were} forgotten since, and the run keeps no hash of each row: whether the other rows "
        "are as they were can't be told"
    )
