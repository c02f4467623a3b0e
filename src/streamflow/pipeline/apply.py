"""The step that writes the use case's definitions to Feast's registry; a file for Feast's CLI."""

from __future__ import annotations

import tempfile
from pathlib import Path

from streamflow.features import feature_store
from streamflow.pipeline.step_lock import one_step
from streamflow.platform import Platform


def apply(platform: Platform) -> feature_store.Applied:
    """Write the definitions into Feast's registry, and create their tables in the online store.

    Raises InvalidSettings, FeatureStoreUnavailable.
    """
    store = feature_store.open_store(
        platform.database.url, platform.use_case, online_store=platform.settings.online_store
    )
    with one_step(platform.database):
        return feature_store.apply(store, platform.use_case)


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
    descriptor, temporary = tempfile.mkstemp(dir=folder)  # created with mode 0600
    with open(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)
    Path(temporary).replace(file)
    return file
