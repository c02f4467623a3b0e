"""Promotion and rollback: move a version to a stage, and record who did it and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from streamflow.platform import Platform
from streamflow.promotion import gates, history, model_history
from streamflow.promotion.change import Change
from streamflow.promotion.online_features import require_online
from streamflow.registry import stages
from streamflow.registry.mlflow_registry import Registry


@dataclass(frozen=True)
class Promoted:
    """A promotion; `changed` is False if the version already was in the stage, with a record of it.

    `replaced` is the version that was in the stage before; `who` is the promoter, `why` the reason.
    `judged_on` says which rows the version's figures are of.
    """

    version: int
    from_stage: str
    to_stage: str
    replaced: int | None
    why: str
    who: str
    changed: bool
    judged_on: str


def promote(
    platform: Platform,
    version: int,
    to_stage: str,
    why: str,
    who: str,
    now: datetime,
    kind: Literal["promoted", "rolled back"] = "promoted",
) -> Promoted:
    """Move the version to the stage, archive the version that was there, and record the reason.

    Raises UnknownVersion, GateFailed (Production only), UnservableModel if a feature that it reads
    isn't online any more, FeatureStoreUnavailable, MlflowUnavailable.
    """
    database, registry = platform.database, platform.registry
    with database.transaction():
        # One promotion at a time. The stage moves first, the row is written second: if the command
        # is killed in between, repeating it finds the moved stage without a row, and writes it.
        database.execute("lock_promotion", model=registry.model)
        candidate = registry.version(version)
        report = gates.check_gates(
            candidate.metrics, platform.use_case.acceptance, candidate.judged_on
        )
        if to_stage == stages.PRODUCTION:
            gates.require_passed(report, version)
        changes = model_history.changes(database, registry.model)
        moved = candidate.stage == to_stage
        if to_stage in stages.ALIASES and not moved:
            require_online(platform, candidate)
        recorded_stage = history.recorded_stage(changes, version)
        recorded = moved and history.recorded_as_ours(changes, version, to_stage)
        from_stage = recorded_stage if moved else candidate.stage
        previous = (
            history.recorded_version(changes, to_stage)
            if moved
            else _version_in_stage(registry, to_stage)
        )
        replaced = None if previous == version else previous
        if not moved:
            registry.set_stage(version, to_stage)
        else:
            registry.align_aliases()
        if not recorded:
            change = Change(
                kind,
                registry.model,
                version,
                who,
                why,
                now,
                model_hash=candidate.model_hash,
                run_id=candidate.run_id,
                from_stage=from_stage,
                to_stage=to_stage,
                replaced=replaced,
                details={"gates": report.as_dict()},
            )
            model_history.record(database, change)
    return Promoted(
        version,
        from_stage,
        to_stage,
        replaced,
        why,
        who,
        changed=not recorded,
        judged_on=candidate.judged_on,
    )


def _version_in_stage(registry: Registry, stage: str) -> int | None:
    """The version that the registry has in the stage; None for a stage of many versions."""
    if stage not in stages.ALIASES:
        return None
    return next((one.version for one in registry.versions() if one.stage == stage), None)


def rollback(platform: Platform, why: str, who: str, now: datetime) -> Promoted:
    """Promote the version that was in Production before.

    Raises NothingToRollBack, UnknownVersion, UnservableModel if a feature that it reads isn't
    online any more, FeatureStoreUnavailable, MlflowUnavailable.
    """
    current = platform.registry.production()
    changes = model_history.changes(platform.database, platform.registry.model)
    target = history.rollback_target(changes, current.version if current else None)
    return promote(platform, target, stages.PRODUCTION, why, who, now, kind="rolled back")
