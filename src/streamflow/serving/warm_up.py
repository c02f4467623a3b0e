"""A model before it serves: checked against its needs, and used once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from streamflow.errors import UnservableModel
from streamflow.serving.scoring import Served
from streamflow.training.served_model import Feature, ServedModel

if TYPE_CHECKING:
    from streamflow.registry.records import ModelVersion
    from streamflow.serving.online_store import OnlineStore


def warmed_up(
    version: ModelVersion, model: ServedModel, online: OnlineStore, join_key: str
) -> Served:
    """The version, ready to serve: the slow first calls are made here, not by a request.

    Raises UnservableModel, FeatureStoreUnavailable, and whatever the model raises.
    """
    if model.schema.join_key != join_key:
        raise unservable(
            version, f"its join key is {model.schema.join_key!r}, this API's is {join_key!r}"
        )
    candidate = Served(version, model, online.plan(model.schema))
    row = {feature.name: [_plain_value(feature)] for feature in model.schema.features}
    labels, probabilities = model.predict(row)
    label, probability = int(labels[0]), float(probabilities[0])
    if label not in (0, 1) or not 0.0 <= probability <= 1.0 or math.isnan(probability):
        raise unservable(version, f"it returns label {label}, probability {probability}")
    online.read(candidate.plan, ["warm-up"])
    return candidate


def unservable(version: ModelVersion, reason: str) -> UnservableModel:
    """The error for a model that can't be used."""
    return UnservableModel(
        f"Version {version.version} of {version.name!r} can't be served: {reason}.",
        "Promote another version with `streamflow promote`, or `streamflow rollback`.",
    )


def write_failed(version: ModelVersion, reason: str) -> UnservableModel:
    """The error for files that can't be stored on this machine."""
    return UnservableModel(
        f"The files of {version.name!r} version {version.version} can't be kept on disk: {reason}.",
        "Give the API room to write below STREAMFLOW_HOME; it tries again by itself.",
    )


def package_missing(version: ModelVersion, package: str) -> UnservableModel:
    """The error for a model whose library isn't installed."""
    return UnservableModel(
        f"Version {version.version} of {version.name!r} can't be served here: it needs {package}, "
        "which isn't installed.",
        "With Docker Compose set STREAMFLOW_API_IMAGE=full in .env, then "
        f"`docker compose up --detach --wait api`; elsewhere install {package}. "
        "Or `streamflow rollback`.",
    )


def _plain_value(feature: Feature) -> bool | int | float | str | None:
    if feature.type == "STRING":
        return feature.categories[0] if feature.categories else None
    return {"INT64": 0, "FLOAT64": 0.0, "BOOL": False}[feature.type]
