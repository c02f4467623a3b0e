"""The step that writes the use case's definitions to Feast's registry; a file for Feast's CLI."""

from __future__ import annotations

from pathlib import Path

from streamflow.features import feature_store, use_case_check
from streamflow.history import history_changes
from streamflow.pipeline.step_lock import one_step
from streamflow.platform import Platform
from streamflow.promotion.kept_versions import kept_versions
from streamflow.scratch import replacement


def apply(platform: Platform) -> feature_store.Applied:
    """Write the definitions into Feast's registry, and create their tables in the online store.

    History follows the contracts first, so that months of before can be read by them. What a
    version in Production or Staging needs, or one that a rollback would take, stays. Raises
    UseCaseRefused, InvalidSettings, FeatureStoreUnavailable, MlflowUnavailable.
    """
    use_case_check.require_usable(platform.use_case)
    store = feature_store.open_store(
        platform.database.url, platform.use_case, online_store=platform.settings.online_store
    )
    with one_step(platform.database, platform.registry.model):
        kept = {
            one.version: one.features for one in kept_versions(platform) if one.features is not None
        }
        history_changes.prepare_history(platform.database, platform.use_case)
        return feature_store.apply(store, platform.use_case, kept)


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
