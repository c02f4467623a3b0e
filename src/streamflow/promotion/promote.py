"""Promotion and rollback: move a version to a stage, and record who did it and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.promotion import history, model_history
from streamflow.promotion.admission.elsewhere import made_elsewhere
from streamflow.promotion.check_version import Check, check_rollback, check_to_promote, stopped
from streamflow.promotion.errors import GateFailed, NotInProduction, PromotedMeanwhile
from streamflow.promotion.gates.result import GateReport
from streamflow.promotion.lookup import anchors
from streamflow.promotion.online_features import require_online
from streamflow.promotion.rival import rival
from streamflow.registry import stages
from streamflow.registry.records import ModelVersion


@dataclass(frozen=True)
class Promoted:
    """A promotion; `changed` is False if the version already was in the stage, with a record of it.

    `replaced` is the version that was in the stage before; `who` is the promoter, `why` the reason.
    `judged_on` says which rows the version's figures are of. `report` is what the gates said, None
    where there are none: for another stage than Production.
    """

    version: int
    from_stage: str
    to_stage: str
    replaced: int | None
    why: str
    who: str
    changed: bool
    judged_on: str
    report: GateReport | None = None

    def as_dict(self) -> dict[str, Any]:
        """The promotion as JSON has it."""
        gates = self.report.as_dict() if self.report is not None else None
        return {**asdict(self), "report": gates}


def promote(
    platform: Platform,
    version: int,
    to_stage: str,
    why: str,
    who: str,
    now: datetime,
    kind: Literal["promoted", "rolled back"] = "promoted",
    *,
    overrides: Mapping[str, str] | None = None,
    progress: Progress = silent,
    check: Check = check_to_promote,
) -> Promoted:
    """Move the version to the stage, archive the version that was there, and record the reason.

    Production is for versions whose gates all pass, by `check`, or are overridden: `overrides` has
    by gate why. A refusal is recorded, and changes nothing else.
    Raises UnknownVersion, GateFailed, PromotedMeanwhile, UnservableModel if a feature that it reads
    isn't online any more, FeatureStoreUnavailable, MlflowUnavailable.
    """
    database, registry = platform.database, platform.registry
    report, head = None, None
    if to_stage == stages.PRODUCTION and not _is_there(platform, version, to_stage):
        # Before the lock: it takes as long as a training.
        report = check(platform, version, who, now, progress, overrides)
        if not report.passed:
            raise _refused(platform, report, why, who, now)
    with database.transaction():
        # One promotion at a time. The stage moves first, the row is written second: if the command
        # is killed in between, repeating it finds the moved stage without a row, and writes it.
        database.execute("lock_promotion", model=registry.model)
        candidate = registry.version(version)
        changes = model_history.changes(database, registry.model)
        moved = candidate.stage == to_stage
        there = version, to_stage, candidate.model_hash
        judged = moved and history.recorded_as_ours(changes, *there)
        placed = registry.placed()
        for change in made_elsewhere(changes, placed, registry.model, now):
            # What this command moved before it was killed is its own.
            if not (moved and version in (change.version, change.replaced)):
                model_history.record(database, change)
        last = changes[-1].number if changes else 0
        changes += model_history.changes(database, registry.model, after=last)
        recorded_stage = history.recorded_stage(changes, version)
        recorded = moved and history.recorded_as_ours(changes, *there)
        if to_stage == stages.PRODUCTION and not judged:
            _require_same_facts(platform, candidate, report)
        if to_stage in stages.ALIASES and not moved and not (overrides and "servable" in overrides):
            require_online(platform, candidate)
        from_stage = recorded_stage if moved else candidate.stage
        in_stage = placed.versions.get(to_stage)
        previous = in_stage.version if in_stage is not None else None
        if moved:
            previous = history.recorded_version(changes, to_stage)
        replaced = None if previous == version else previous
        if not moved:
            registry.set_stage(version, to_stage)
        else:
            registry.align_aliases()
        if not recorded:
            change = model_history.about(
                candidate,
                kind,
                who,
                why,
                now,
                from_stage=from_stage,
                to_stage=to_stage,
                replaced=replaced,
                details=report.as_dict() if report is not None else {},
            )
            head = model_history.record(database, change)
    if head is not None:
        anchors.anchor(platform, head)
    return Promoted(
        version,
        from_stage,
        to_stage,
        replaced,
        why,
        who,
        changed=not recorded,
        judged_on=candidate.judged_on,
        report=report,
    )


def _is_there(platform: Platform, version: int, stage: str) -> bool:
    """Whether the version is in the stage, with a record of ours about the model that it has."""
    found = platform.registry.version(version)
    changes = model_history.changes(platform.database, platform.registry.model)
    return found.stage == stage and history.recorded_as_ours(
        changes, version, stage, found.model_hash
    )


def _refused(
    platform: Platform, report: GateReport, why: str, who: str, now: datetime
) -> GateFailed:
    """The error for a version that a gate stops, after the refusal was recorded."""
    version = platform.registry.version(report.version)
    change = model_history.about(
        version,
        "refused",
        who,
        why,
        now,
        from_stage=version.stage,
        to_stage=stages.PRODUCTION,
        details=report.as_dict(),
    )
    with platform.database.transaction():
        head = model_history.record(platform.database, change)
    anchors.anchor(platform, head)
    return stopped(report)


def _require_same_facts(
    platform: Platform, candidate: ModelVersion, report: GateReport | None
) -> None:
    """Raise PromotedMeanwhile unless the report is about this model, and the version that it was
    compared with still serves."""
    serves = rival(platform)
    serving = serves.version if serves is not None else None
    if report is None:
        changed = f"version {candidate.version} was moved out of Production"
    elif report.model_hash not in ("", candidate.model_hash):
        changed = f"version {candidate.version} was given another model"
    elif serving != report.against:
        was = "nothing" if report.against is None else f"version {report.against}"
        changed = (
            f"version {serving} took the place of {was}"
            if serving is not None
            else f"{was} was moved out of Production"
        )
    else:
        return
    raise PromotedMeanwhile(
        f"While the gates of version {candidate.version} were evaluated, {changed}. Nothing was "
        "changed.",
        f"Run `streamflow promote {candidate.version} --to production --why TEXT` again.",
    )


def rollback(
    platform: Platform,
    why: str,
    who: str,
    now: datetime,
    progress: Progress = silent,
    check: Check = check_rollback,
    *,
    leaving: int | None = None,
) -> Promoted:
    """Promote the version that was in Production before, if it can still be served.

    It passed its gates when it was promoted; whether it is better isn't asked again. With the
    version to leave, the same rollback can be run again after a kill: it goes no further back.
    Raises NotInProduction if another version than `leaving` is there, NothingToRollBack,
    UnknownVersion, GateFailed, UnservableModel if a feature that it reads isn't online any more,
    FeatureStoreUnavailable, MlflowUnavailable.
    """
    current = platform.registry.production()
    changes = model_history.changes(platform.database, platform.registry.model)
    there = current.version if current is not None else None
    target = history.rolled_back_to(changes, leaving)
    if target is None:
        target = history.rollback_target(changes, there)
        recorded = history.recorded_version(changes, stages.PRODUCTION)
        if leaving is not None and (leaving == target or leaving not in (there, recorded)):
            found = "nothing" if there is None else f"version {there}"
            raise NotInProduction(
                f"In Production is {found}, not version {leaving}. Nothing was changed.",
                "See `streamflow history`.",
            )
    return promote(
        *(platform, target, stages.PRODUCTION, why, who, now),
        kind="rolled back",
        progress=progress,
        check=check,
    )
