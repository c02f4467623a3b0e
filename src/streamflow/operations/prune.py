"""The step that takes old runs and versions away, with their files."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from streamflow.errors import UnservableModel
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.promotion import model_history
from streamflow.promotion.kept_versions import within_rollback
from streamflow.promotion.prunable import Protected, PrunableRun, prunable_runs
from streamflow.registry.records import ModelVersion
from streamflow.registry.stages import ALIASES


@dataclass(frozen=True)
class Pruned:
    """The runs that were taken away, and those that are old enough and stay, oldest first."""

    removed: list[PrunableRun]
    kept: list[PrunableRun]


def plan(platform: Platform, keep: int, older_than: timedelta, now: datetime) -> Pruned:
    """What `prune` would do now. Raises MlflowUnavailable."""
    found = _prunable(platform, keep, older_than, now)
    return Pruned([one for one in found if not one.reasons], [one for one in found if one.reasons])


def prune(
    platform: Platform,
    keep: int,
    older_than: timedelta,
    now: datetime,
    progress: Progress = silent,
) -> Pruned:
    """Take away the runs that began before `older_than` and aren't among the `keep` newest, with
    their versions and files.

    A run stays if a version of it is in Production or Staging, if a rollback would take it, if it
    was in Production within `older_than` or the days of the prediction log, or if the prediction
    log has a prediction of it. Each is looked at again just before, so that none goes that is
    promoted meanwhile. Interrupted, the same command goes on. Raises MlflowUnavailable.
    """
    removed = []
    planned = plan(platform, keep, older_than, now)
    for number, one in enumerate(planned.removed, 1):
        progress(f"run {number} of {len(planned.removed)}")
        with platform.database.transaction():
            platform.database.execute("lock_promotion", model=platform.registry.model)
            versions = platform.registry.versions()
            if any(each.run_id == one.run_id and each.stage in ALIASES for each in versions):
                continue
            platform.registry.delete_run(one.run_id)
            _forget(platform, one, versions)
        removed.append(one)
    return Pruned(removed, planned.kept)


def _prunable(
    platform: Platform, keep: int, older_than: timedelta, now: datetime
) -> list[PrunableRun]:
    registry, settings, database = platform.registry, platform.settings, platform.database
    versions = registry.versions()
    changes = model_history.changes(database, registry.model)
    protected = Protected(
        rollback=within_rollback(platform, versions, changes),
        retention=max(older_than, timedelta(days=settings.prediction_log_days)),
        in_log={row["version"] for row in database.rows("versions_in_log", model=registry.model)},
    )
    return prunable_runs(registry.runs(), versions, changes, protected, keep, older_than, now)


def _forget(platform: Platform, run: PrunableRun, versions: list[ModelVersion]) -> None:
    """Remove this machine's copies of files that no other version has."""
    used = {one.model_hash for one in versions if one.run_id != run.run_id}
    for version in versions:
        if version.run_id == run.run_id and version.model_hash not in used:
            with suppress(UnservableModel):  # its tag is no hash, so nothing was copied
                shutil.rmtree(platform.registry.cache.path(version), ignore_errors=True)
