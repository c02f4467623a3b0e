"""Promotion and rollback: the stage moves, and who did it and why is written down for good."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from streamflow.platform import Platform
from streamflow.promotion import gates, history
from streamflow.registry import stages
from streamflow.registry.mlflow_registry import Registry


@dataclass(frozen=True)
class Promoted:
    """`changed` is False if the version was in that stage already, and recorded so."""

    version: int
    from_stage: str
    to_stage: str
    replaced: int | None
    why: str
    who: str
    changed: bool


def promote(
    platform: Platform,
    version: int,
    to_stage: str,
    why: str,
    who: str,
    now: datetime,
    action: str = "promote",
) -> Promoted:
    """Move the version to the stage, archive the one that was there, and write down why.

    Raises UnknownVersion, GateFailed (Production only), MlflowUnavailable.
    """
    database, registry = platform.database, platform.registry
    with database.transaction():
        # One promotion at a time. The stage moves first and the line is written second: killed in
        # between, the same command finds the stage moved and no line, and writes it.
        database.execute("lock_promotion", model=registry.model)
        candidate = registry.version(version)
        verdict = gates.judge(candidate.metrics, platform.use_case.acceptance)
        if to_stage == stages.PRODUCTION:
            gates.require(verdict, version)
        audit = database.rows("promotions", model=registry.model)
        moved = candidate.stage == to_stage
        told = history.recorded_stage(audit, version)
        recorded = moved and told == to_stage
        from_stage = told if moved else candidate.stage
        holder = history.holder(audit, to_stage) if moved else _holder(registry, to_stage)
        replaced = None if holder == version else holder
        if not moved:
            registry.set_stage(version, to_stage)
        else:
            registry.align_aliases()
        if not recorded:
            database.execute(
                "record_promotion",
                promoted_at=now,
                promoted_by=who,
                model=registry.model,
                version=version,
                action=action,
                from_stage=from_stage,
                to_stage=to_stage,
                replaced=replaced,
                why=why,
                verdict=json.dumps(verdict.as_dict()),
            )
    return Promoted(version, from_stage, to_stage, replaced, why, who, changed=not recorded)


def _holder(registry: Registry, stage: str) -> int | None:
    """The version in a stage that one version at a time is in."""
    if stage not in stages.ALIASES:
        return None
    return next((one.version for one in registry.versions() if one.stage == stage), None)


def rollback(platform: Platform, why: str, who: str, now: datetime) -> Promoted:
    """Bring back the version that was in Production before; the same step backwards.

    Raises NothingToRollBack, UnknownVersion, MlflowUnavailable.
    """
    current = platform.registry.production()
    audit = platform.database.rows("promotions", model=platform.registry.model)
    target = history.rollback_target(audit, current.version if current else None)
    return promote(platform, target, stages.PRODUCTION, why, who, now, action="rollback")
