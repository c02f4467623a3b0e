"""Conclusions from the recorded changes: who is in a stage, and the target of a rollback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from streamflow.errors import NothingToRollBack
from streamflow.promotion.admission.admitted import last_admitted, same_model
from streamflow.promotion.change import Change, RecordedChange
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


def recorded_as_ours(changes: Sequence[Change], version: int, stage: str, model_hash: str) -> bool:
    """Whether the version is in the stage by the recorded changes and was brought there by one of
    ours, with this model and the stage's alias; or was archived by one."""
    if recorded_stage(changes, version) != stage:
        return False
    if stage not in ALIASES:
        # What was taken out of Production elsewhere goes on serving until one of ours says so.
        serving = last_admitted(changes)
        return serving is None or serving.version != version
    aliases = recorded(changes).aliases
    last = _last_move(changes, version)
    return last.ours and same_model(last, model_hash) and aliases.get(ALIASES[stage]) == version


def _last_move(changes: Sequence[Change], version: int) -> Change:
    return next(one for one in reversed(changes) if one.moves and one.version == version)


@dataclass(frozen=True)
class Recorded:
    """Who is in each stage of one version, and where each of their aliases points; what is empty
    lacks."""

    versions: Mapping[str, int]
    aliases: Mapping[str, int]


def recorded(changes: Iterable[Change]) -> Recorded:
    """Who is where by the recorded changes. A promotion brings the aliases to their stages."""
    versions: dict[str, int] = {}
    aliases: dict[str, int] = {}
    for change in changes:
        if change.moves:
            kept = {stage: one for stage, one in versions.items() if one != change.version}
            kept.pop(change.to_stage or "", None)
            if change.to_stage in ALIASES and change.version is not None:
                kept[change.to_stage] = change.version
            versions = kept
        if change.ours:
            aliases = {ALIASES[stage]: one for stage, one in versions.items()}
        elif (alias := change.details.get("alias")) is not None:
            aliases.pop(alias, None)
            if change.version is not None:
                aliases[alias] = change.version
    return Recorded(versions, aliases)


def production_changes(changes: Iterable[RecordedChange]) -> list[RecordedChange]:
    """The changes that brought another version to Production, or emptied it, in their order."""
    found: list[RecordedChange] = []
    current: int | None = None
    for change in changes:
        before = current
        if change.moves and change.to_stage == PRODUCTION:
            current = change.version
        elif change.moves and change.version == current:
            current = None
        if current != before:
            found.append(change)
    return found


def recorded_version(changes: Sequence[Change], stage: str) -> int | None:
    """The version in the stage by the recorded changes; None for a stage of many versions."""
    return recorded(changes).versions.get(stage)


def in_production_since(changes: Sequence[Change], moment: datetime) -> set[int]:
    """The versions that were in Production at `moment` (UTC) or later, by the recorded changes."""
    before = [one for one in changes if one.at <= moment]
    found = recorded_version(before, PRODUCTION)
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


def rolled_back_to(changes: Sequence[Change], leaving: int | None) -> int | None:
    """The version that the last change in Production was a rollback to, if it left `leaving`."""
    moves = [one for one in changes if one.moves and one.to_stage == PRODUCTION]
    if not moves or moves[-1].kind != "rolled back" or moves[-1].replaced != leaving:
        return None
    return moves[-1].version if leaving is not None else None


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
