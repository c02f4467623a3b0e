"""Changes of stages and aliases that were made elsewhere: in MLflow's page or client. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from streamflow.promotion.change import Change
from streamflow.promotion.history import recorded, recorded_stage
from streamflow.registry.records import Placed
from streamflow.registry.stages import ALIASES

WHO = "unknown"
WHY = "changed in MLflow, not by StreamFlow"


def made_elsewhere(
    changes: Sequence[Change], placed: Placed, model: str, at: datetime
) -> list[Change]:
    """What differs in MLflow from what the recorded changes say, as changes to be recorded."""
    found: list[Change] = []
    for stage in ALIASES:
        known = recorded([*changes, *found]).versions.get(stage)
        there = placed.versions.get(stage)
        number = there.version if there is not None else None
        if number == known:
            continue
        change = Change(
            "changed elsewhere",
            model,
            number,
            WHO,
            WHY,
            at,
            model_hash=there.model_hash if there is not None else "",
            run_id=there.run_id if there is not None else "",
            from_stage=recorded_stage(changes, number) if number is not None else None,
            to_stage=stage,
            replaced=known,
        )
        found.append(change)
    known_aliases = recorded([*changes, *found]).aliases
    for alias in ALIASES.values():
        before, points_to = known_aliases.get(alias), placed.aliases.get(alias)
        if before != points_to:
            details = {"alias": alias, "before": before}
            found.append(
                Change("changed elsewhere", model, points_to, WHO, WHY, at, details=details)
            )
    return found
