"""What the recorded promotions say: who is in a stage, and where a rollback leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamflow.errors import NothingToRollBack
from streamflow.registry.stages import ALIASES, PRODUCTION


def recorded_stage(audit: Sequence[Mapping[str, Any]], version: int) -> str:
    """The stage that the audit says the version is in; whoever was replaced is archived."""
    stage = "None"
    for row in audit:
        if row["version"] == version:
            stage = row["to_stage"]
        elif row["to_stage"] == stage and stage in ALIASES:
            stage = "Archived"
    return stage


def holder(audit: Sequence[Mapping[str, Any]], stage: str) -> int | None:
    """The version that the audit says is in a stage that holds one version at a time."""
    if stage not in ALIASES:
        return None
    versions = {row["version"] for row in audit}
    return next((one for one in versions if recorded_stage(audit, one) == stage), None)


def rollback_target(audit: Sequence[Mapping[str, Any]], current: int | None) -> int:
    """The version that was in Production before `current`.

    The audit's promotions to Production are a stack: promoting puts a version on it, a rollback
    takes one off, so that a second rollback goes one further back. `current` may have got there by
    other means (MLflow's UI); then the stack's top is what was before it.
    Raises NothingToRollBack.
    """
    stack: list[int] = []
    for row in audit:
        if row["to_stage"] != PRODUCTION:
            continue
        if row["action"] == "rollback":
            while stack and stack[-1] != row["version"]:
                stack.pop()
        if not stack or stack[-1] != row["version"]:
            stack.append(row["version"])
    if len(stack) > 1 and stack[-1] != current == stack[-2]:
        return stack[-2]  # the stage moved, and whoever rolled back was killed before writing it
    while stack and stack[-1] == current:
        stack.pop()
    if not stack:
        raise NothingToRollBack(
            "No other version was in Production before.",
            "See `streamflow models`; name a version with `streamflow promote VERSION`.",
        )
    return stack[-1]
