"""Conclusions from the recorded promotions: a version's stage, and the target of a rollback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamflow.errors import NothingToRollBack
from streamflow.registry.stages import ALIASES, PRODUCTION

# A row of the table `promotions`, oldest first; `version`, `action` and `to_stage` are used here.
PromotionRow = Mapping[str, Any]


def recorded_stage(promotions: Sequence[PromotionRow], version: int) -> str:
    """The stage of the version by the recorded promotions; a replaced version is archived."""
    stage = "None"
    for row in promotions:
        if row["version"] == version:
            stage = row["to_stage"]
        elif row["to_stage"] == stage and stage in ALIASES:
            stage = "Archived"
    return stage


def recorded_version(promotions: Sequence[PromotionRow], stage: str) -> int | None:
    """The version in the stage by the recorded promotions; None for a stage of many versions."""
    if stage not in ALIASES:
        return None
    versions = {row["version"] for row in promotions}
    return next((one for one in versions if recorded_stage(promotions, one) == stage), None)


def rollback_target(promotions: Sequence[PromotionRow], current: int | None) -> int:
    """The version that was in Production before `current`, the version that is there now.

    The recorded promotions to Production are a stack: a promotion pushes a version, a rollback
    removes the top, so that a second rollback goes one step further back. If `current` was moved
    there without a record (in MLflow's UI), the target is the top of the stack.
    Raises NothingToRollBack.
    """
    stack: list[int] = []
    for row in promotions:
        if row["to_stage"] != PRODUCTION:
            continue
        if row["action"] == "rollback":
            while stack and stack[-1] != row["version"]:
                stack.pop()
        if not stack or stack[-1] != row["version"]:
            stack.append(row["version"])
    if len(stack) > 1 and stack[-1] != current == stack[-2]:
        return stack[-2]  # a rollback moved the stage and was killed before it was recorded
    while stack and stack[-1] == current:
        stack.pop()
    if not stack:
        raise NothingToRollBack(
            "No other version was in Production before.",
            "See `streamflow models`; name a version with `streamflow promote VERSION`.",
        )
    return stack[-1]


def rollback_targets(promotions: Sequence[PromotionRow], current: int | None) -> list[int]:
    """The versions that one rollback after another would take, the next one first."""
    rows, targets = [*promotions], list[int]()
    while True:
        try:
            current = rollback_target(rows, current)
        except NothingToRollBack:
            return list(dict.fromkeys(targets))
        targets.append(current)
        rows.append({"version": current, "action": "rollback", "to_stage": PRODUCTION})
