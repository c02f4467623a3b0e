"""The step that brings all that follows a use case to it; what it would change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamflow.errors import InvalidSettings
from streamflow.features import definitions, feature_store, use_case_check
from streamflow.features.definitions import Changes, lacking
from streamflow.features.kept import pruning, rows
from streamflow.features.kept.pruning import Pruned
from streamflow.history import history_changes
from streamflow.history.history_plan import HistoryPlan, history_plan
from streamflow.pipeline.step_lock import one_step
from streamflow.platform import Platform
from streamflow.promotion.kept_versions import VersionNeeds, kept_versions, newest_versions
from streamflow.scratch import replacement
from streamflow.training.served_model import FeatureSchema

# By then each process of the API has seen twice which version it serves, and from which tables.
_POLLS = 2


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
    concerns. `pruned` is what no kept version needed before it, and goes if that is asked for."""

    history: HistoryPlan
    registry: Changes
    versions: list[ConcernedVersion]
    pruned: list[Pruned]


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
        rows.follow_history(platform.database, platform.use_case, store)
    return done


def prune(platform: Platform, wait: Callable[[float], None] = time.sleep) -> list[Pruned]:
    """Remove what `apply` has kept and no kept version needs any more; returns what was removed.

    Each process of the API may read it for as long as it polls, so that `wait` is called with the
    seconds first. Raises FeatureStoreUnavailable, MlflowUnavailable.
    """
    wait(_POLLS * platform.settings.registry_poll_seconds)
    with one_step(platform.database, platform.registry.model):
        kept = [one.features for one in kept_versions(platform) if one.features is not None]
        store = _store(platform)
        gone = _prunable(platform, store.list_feature_views(), kept)
        pruning.prune(store, gone)
    return gone


def _prunable(platform: Platform, views: Iterable[Any], kept: list[FeatureSchema]) -> list[Pruned]:
    tables = None
    if platform.settings.online_store is None:
        tables = [pruning.tables_read(platform.database, platform.use_case, one) for one in kept]
    return pruning.prunable(views, kept, tables)


def _store(platform: Platform) -> Any:
    return feature_store.open_store(
        platform.database.url, platform.use_case, online_store=platform.settings.online_store
    )


def _plan(platform: Platform) -> Plan:
    kept = kept_versions(platform)
    needs = {one.version: one.features for one in kept if one.features is not None}
    changes = definitions.planned(_store(platform), platform.use_case, needs)
    if platform.settings.online_store is not None:
        _require_one_definition(changes)
    others = newest_versions(platform, but_not=[one.version for one in kept])
    concerned = [_concerned(one, changes, kept=one in kept) for one in (*kept, *others)]
    history = history_plan(platform.database, platform.use_case)
    gone = _prunable(platform, changes.before, [*needs.values()])
    concerned = [one for one in concerned if one.kept or one.lacks]
    return Plan(history, changes, concerned, gone)


def _require_one_definition(changes: Changes) -> None:
    """Raise InvalidSettings if two definitions of a view would have to be online side by side."""
    for one in changes.feature_views:
        view = one.table.partition("@v")[0]
        if one.change == "kept" and one.feature_view != view:
            raise InvalidSettings(
                f"Version {', '.join(map(str, one.versions))} reads feature view {view!r} as it "
                "was, and the configured online store has one definition of a view.",
                f'Give the changed view another name, such as FeatureView(name="{view}_2", …), and '
                "keep the old one until no version reads it.",
            )


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
