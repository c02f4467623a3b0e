"""The step that brings all that follows a use case to it; what it would change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamflow.features import definitions, feature_store, kept_rows, use_case_check
from streamflow.features.definitions import Changes, lacking
from streamflow.history import history_changes
from streamflow.history.history_plan import HistoryPlan, history_plan
from streamflow.pipeline.step_lock import one_step
from streamflow.platform import Platform
from streamflow.promotion.kept_versions import VersionNeeds, kept_versions, newest_versions
from streamflow.scratch import replacement


@dataclass(frozen=True)
class ConcernedVersion:
    """A version of the model that an apply concerns.

    One that is `kept`, because it is in Production or Staging or a rollback would take it, is
    served as before; `reads` names the views that stay for it alone. `lacks` has what the version
    needs and won't find, as `view:feature as TYPE`.
    """

    version: int
    stage: str
    kept: bool
    reads: list[str]
    lacks: list[str]


@dataclass(frozen=True)
class Plan:
    """What an apply changes in history, in Feast's registry and online, and the versions that it
    concerns."""

    history: HistoryPlan
    registry: Changes
    versions: list[ConcernedVersion]


def plan(platform: Platform) -> Plan:
    """What `apply` would do now; nothing is changed.

    Raises UseCaseRefused, InvalidSettings, FeatureStoreUnavailable, MlflowUnavailable.
    """
    use_case_check.require_usable(platform.use_case)
    return _plan(platform)


def apply(platform: Platform) -> Plan:
    """Write the definitions into Feast's registry, and create their tables in the online store.

    History follows the contracts first, so that months of before can be read by them. What a
    version in Production or Staging needs, or one that a rollback would take, stays. Returns what
    it has changed. Raises as `plan` does.
    """
    use_case_check.require_usable(platform.use_case)
    with one_step(platform.database, platform.registry.model):
        done = _plan(platform)
        history_changes.prepare_history(platform.database, platform.use_case)
        store = _store(platform)
        definitions.apply(store, platform.use_case, done.registry)
        kept_rows.follow_history(platform.database, platform.use_case, store)
    return done


def _store(platform: Platform) -> Any:
    return feature_store.open_store(
        platform.database.url, platform.use_case, online_store=platform.settings.online_store
    )


def _plan(platform: Platform) -> Plan:
    kept = kept_versions(platform)
    needs = {one.version: one.features for one in kept if one.features is not None}
    changes = definitions.planned(_store(platform), platform.use_case, needs)
    others = newest_versions(platform, but_not=[one.version for one in kept])
    concerned = [_concerned(one, changes, kept=one in kept) for one in (*kept, *others)]
    history = history_plan(platform.database, platform.use_case)
    return Plan(history, changes, [one for one in concerned if one.kept or one.lacks])


def _concerned(one: VersionNeeds, changes: Changes, *, kept: bool) -> ConcernedVersion:
    lacks: list[str] = []
    if one.features is not None and not lacking(one.features, changes.before):
        lacks = lacking(one.features, changes.after)
    return ConcernedVersion(
        one.version,
        one.stage,
        kept,
        [view for view, versions in changes.kept.items() if one.version in versions],
        lacks,
    )


def write_feast_config(platform: Platform, folder: Path) -> Path:
    """Write `feature_store.yaml`, which Feast's own CLI needs, into `folder`; returns the file.

    Only its owner can read it, because it contains the password.
    """
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "feature_store.yaml"
    text = yaml.safe_dump(
        feature_store.configuration(
            platform.database.url, platform.use_case, online_store=platform.settings.online_store
        ),
        sort_keys=False,
    )
    with replacement(file) as temporary:
        temporary.chmod(0o600)
        temporary.write_text(text, encoding="utf-8")
    return file
