"""Which runs may be taken away, and what keeps the others. Pure decisions, without I/O."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from streamflow.promotion.change import Change
from streamflow.promotion.history import in_production_since
from streamflow.registry.records import ModelVersion, Run
from streamflow.registry.stages import ALIASES, PRODUCTION


@dataclass(frozen=True)
class PrunableRun:
    """A run that is old enough, and its versions; it stays if there are `reasons`."""

    run_id: str
    started_at: datetime  # UTC
    versions: tuple[int, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Protected:
    """Versions that stay: a rollback would take them, they were in Production within `retention`,
    or a prediction of theirs is in the log."""

    rollback: Collection[int]
    retention: timedelta
    in_log: Collection[int]


def prunable_runs(
    runs: Sequence[Run],
    versions: Sequence[ModelVersion],
    changes: Sequence[Change],
    protected: Protected,
    keep: int,
    older_than: timedelta,
    now: datetime,
) -> list[PrunableRun]:
    """The ended runs that began before `older_than` and aren't among the `keep` newest, oldest
    first. `runs` are the newest first. A run whose training is under way isn't looked at."""
    served = in_production_since(changes, now - protected.retention)
    ended = [run for run in runs if run.status != "RUNNING"]
    found = []
    for run in ended[keep:]:
        started_at = datetime.fromtimestamp(run.started_at, UTC)
        if started_at > now - older_than:
            continue
        own = [one for one in versions if one.run_id == run.run_id]
        reasons = [reason for one in own for reason in _reasons(one, served, protected)]
        numbers = tuple(sorted(one.version for one in own))
        found.append(PrunableRun(run.run_id, started_at, numbers, tuple(reasons)))
    return sorted(found, key=lambda one: one.started_at)


def _reasons(version: ModelVersion, served: Collection[int], protected: Protected) -> list[str]:
    reasons = []
    if version.stage in ALIASES:
        reasons.append(f"in {version.stage}")
    elif version.version in protected.rollback:
        reasons.append("a rollback would take it")
    if version.version in served and version.stage != PRODUCTION:
        reasons.append(f"in Production within the last {protected.retention.days} days")
    if version.version in protected.in_log:
        reasons.append("its predictions are in the log")
    return reasons
