"""The versions that stay servable whatever becomes of the use case, and what their models read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamflow.errors import UnservableModel
from streamflow.platform import Platform
from streamflow.promotion import model_history
from streamflow.promotion.change import Change
from streamflow.promotion.history import rollback_targets
from streamflow.registry.records import ModelVersion
from streamflow.registry.stages import ALIASES, PRODUCTION
from streamflow.scratch import scratch
from streamflow.training.served_model import SCHEMA_FILE, FeatureSchema

# An apply says of so many others what it takes from them.
_OTHERS = 10


@dataclass(frozen=True)
class VersionNeeds:
    """A version and what its model reads; None if its files aren't a model of ours, which can't be
    served anyway."""

    version: int
    stage: str
    features: FeatureSchema | None


def kept_versions(platform: Platform) -> list[VersionNeeds]:
    """The versions in Production and Staging, and as many of those that were in Production before
    as the settings say, the next one that a rollback takes first. Raises MlflowUnavailable."""
    if not _has_registry(platform):
        return []
    registry = platform.registry
    versions = {version.version: version for version in registry.versions()}
    changes = model_history.changes(platform.database, registry.model)
    wanted = [
        *(number for number, version in versions.items() if version.stage in ALIASES),
        *within_rollback(platform, [*versions.values()], changes),
    ]
    return [_served(platform, versions[number]) for number in dict.fromkeys(wanted)]


def within_rollback(
    platform: Platform, versions: Sequence[ModelVersion], changes: Sequence[Change]
) -> list[int]:
    """As many of the `versions`, all there are and the newest first, as the settings say: those
    that one rollback after another would take, the next one first."""
    production = next((one.version for one in versions if one.stage == PRODUCTION), None)
    there = {one.version for one in versions}
    targets = [one for one in rollback_targets(changes, production) if one in there]
    return targets[: platform.settings.rollback_versions]


def newest_versions(platform: Platform, but_not: Collection[int]) -> list[VersionNeeds]:
    """The newest of the other versions. Raises MlflowUnavailable."""
    if not _has_registry(platform):
        return []
    versions = [one for one in platform.registry.versions() if one.version not in but_not]
    return [recorded_needs(platform, version) for version in versions[:_OTHERS]]


def _served(platform: Platform, version: ModelVersion) -> VersionNeeds:
    """By the files that are served, whose hash was checked."""
    try:
        folder = platform.production.download(version)
    except UnservableModel:
        return VersionNeeds(version.version, version.stage, None)
    return VersionNeeds(version.version, version.stage, _schema(folder / SCHEMA_FILE))


def recorded_needs(platform: Platform, version: ModelVersion) -> VersionNeeds:
    """By the document of its run: the files of many models would be large."""
    features = None
    with scratch(platform.settings.scratch) as folder:
        file = platform.registry.artifact(version.run_id, SCHEMA_FILE, folder)
        if file is not None:
            features = _schema(file)
    return VersionNeeds(version.version, version.stage, features)


def _schema(file: Path) -> FeatureSchema | None:
    try:
        return FeatureSchema.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # no file of ours
        return None


def _has_registry(platform: Platform) -> bool:
    """Making MLflow's tables takes seconds, and a new database needs none to be asked."""
    if platform.settings.mlflow_tracking_uri is not None:
        return True
    return bool(platform.database.row("registry_exists")["exists"])
