"""Conclusions from the recorded changes: who is in a stage, and the target of a rollback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from streamflow.errors import NothingToRollBack
from streamflow.promotion.change import Change
from streamflow.registry.stages import ALIASES, PRODUCTION


def recorded_stage(changes: Sequence[Change], version: int) -> str:
    """The stage of the version by the recorded changes; a replaced version is archived."""
    stage = "None"
    for change in changes:
        if not change.moves:
            continue
        if change.version == version:
            stage = change.to_stage or stage
        elif change.to_stage == stage and stage in ALIASES:
            stage = "Archived"
    return stage


def recorded_as_ours(changes: Sequence[Change], version: int, stage: str) -> bool:
    """Whether the version is in the stage by the recorded changes, and was brought there by ours or
    archived by one."""
    if recorded_stage(changes, version) != stage:
        return False
    return stage not in ALIASES or _last_move(changes, version).ours


def _last_move(changes: Sequence[Change], version: int) -> Change:
    return next(one for one in reversed(changes) if one.moves and one.version == version)


def recorded_version(changes: Sequence[Change], stage: str) -> int | None:
    """The version in the stage by the recorded changes; None for a stage of many versions."""
    return recorded_versions(changes).get(stage)


def recorded_versions(changes: Sequence[Change]) -> dict[str, int]:
    """The version in each stage of one version, by the recorded changes; empty stages lack."""
    found: dict[str, int] = {}
    for change in changes:
        if not change.moves:
            continue
        kept = {stage: one for stage, one in found.items() if one != change.version}
        kept.pop(change.to_stage or "", None)
        if change.to_stage in ALIASES and change.version is not None:
            kept[change.to_stage] = change.version
        found = kept
    return found


def in_production_since(changes: Sequence[Change], moment: datetime) -> set[int]:
    """The versions that were in Production at `moment` (UTC) or later, by the recorded changes."""
    before = [one for one in changes if one.at <= moment]
    found = recorded_versions(before).get(PRODUCTION)
    later = {
        one.version
        for one in changes
        if one.at > moment and one.moves and one.to_stage == PRODUCTION and one.version is not None
    }
    return later if found is None else {found, *later}


def rollback_target(changes: Sequence[Change], current: int | None) -> int:
    """The version that was in Production before `current`, the version that is there now.

    The recorded promotions to Production are a stack: a promotion pushes a version, a rollback
    removes the top, so that a second rollback goes one step further back. A version that was moved
    there elsewhere is on the stack if it was promoted before; otherwise it never served, and the
    target is the top of the stack. Raises NothingToRollBack.
    """
    stack: list[int] = []
    promoted: set[int] = set()
    for change in changes:
        version = change.version
        if not change.moves or change.to_stage != PRODUCTION or version is None:
            continue
        if change.ours:
            promoted.add(version)
        elif version not in promoted:
            continue
        if change.kind == "rolled back":
            while stack and stack[-1] != version:
                stack.pop()
        if not stack or stack[-1] != version:
            stack.append(version)
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


def rollback_targets(changes: Sequence[Change], current: int | None) -> list[int]:
    """The versions that one rollback after another would take, the next one first."""
    so_far, targets = [*changes], list[int]()
    while True:
        try:
            current = rollback_target(so_far, current)
        except NothingToRollBack:
            return list(dict.fromkeys(targets))
        targets.append(current)
        before = next(one for one in so_far if one.version == current and one.ours)
        so_far.append(replace(before, kind="rolled back", to_stage=PRODUCTION))
