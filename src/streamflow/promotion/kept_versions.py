"""The versions that stay servable whatever becomes of the use case, and what their models read."""

from __future__ import annotations

from dataclasses import dataclass

from streamflow.errors import UnservableModel
from streamflow.platform import Platform
from streamflow.promotion.history import rollback_targets
from streamflow.registry.stages import ALIASES
from streamflow.training.served_model import SCHEMA_FILE, FeatureSchema


@dataclass(frozen=True)
class KeptVersion:
    """A version in Production or Staging, or one that a rollback would take.

    `features` is None if its files aren't a model of ours, so that it can't be served anyway.
    """

    version: int
    stage: str
    features: FeatureSchema | None


def kept_versions(platform: Platform) -> list[KeptVersion]:
    """The versions in Production and Staging, and as many of those that were in Production before
    as the settings say, newest promotion first. Raises MlflowUnavailable."""
    if not _has_registry(platform):
        return []
    registry = platform.registry
    versions = {version.version: version for version in registry.versions()}
    production = registry.production()
    promotions = platform.database.rows("promotions", model=registry.model)
    before = rollback_targets(promotions, production.version if production else None)
    in_stages = [number for number, version in versions.items() if version.stage in ALIASES]
    before = [number for number in before if number in versions]
    wanted = dict.fromkeys([*in_stages, *before[: platform.settings.rollback_versions]])
    found = []
    for number in wanted:
        version = versions[number]
        try:
            text = (platform.production.download(version) / SCHEMA_FILE).read_text("utf-8")
            features = FeatureSchema.from_json(text)
        except UnservableModel:
            features = None
        found.append(KeptVersion(number, version.stage, features))
    return found


def _has_registry(platform: Platform) -> bool:
    """Making MLflow's tables takes seconds, and a new database needs none to be asked."""
    if platform.settings.mlflow_tracking_uri is not None:
        return True
    return bool(platform.database.row("registry_exists")["exists"])
