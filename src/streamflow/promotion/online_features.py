"""Whether a version's features are online: an `apply --prune` may have removed them."""

from __future__ import annotations

from dataclasses import replace

from streamflow.errors import UnservableModel
from streamflow.platform import Platform
from streamflow.promotion.kept_versions import recorded_needs
from streamflow.registry.records import ModelVersion
from streamflow.serving.configured_online_store import configured_online_store
from streamflow.serving.online_store import OnlineStore
from streamflow.training.served_model import FeatureSchema


def require_online(platform: Platform, version: ModelVersion) -> None:
    """Raise UnservableModel, with what isn't there, if the online store can't serve the version.

    A version without a list of features of ours is let through: the API refuses it. Raises
    FeatureStoreUnavailable, MlflowUnavailable.
    """
    schema = recorded_needs(platform, version).features
    if schema is None:
        return
    online = configured_online_store(platform.settings, platform.database, platform.use_case)
    try:
        online.plan(schema)
    except UnservableModel as error:
        missing = ", ".join(missing_features(online, schema))
        said = f"{missing} isn't online any more." if missing else error.message
        raise UnservableModel(
            f"Version {version.version} can't be served: {said}",
            "If the use case has it, run `streamflow apply`; else write it into the use case again "
            "first. Then `streamflow materialize`. Or promote another version: see "
            "`streamflow models`.",
        ) from error


def missing_features(online: OnlineStore, schema: FeatureSchema) -> list[str]:
    """The features of the model that no table online has, as `view:feature as TYPE`."""
    found = []
    for feature in schema.features:
        try:
            online.plan(replace(schema, features=(feature,)))
        except UnservableModel:
            found.append(f"{feature.feature_view}:{feature.name} as {feature.type}")
    return found
