"""The head of a model's history, written down in MLflow as a tag of the registered model."""

from __future__ import annotations

from streamflow.registry.mlflow_client import mlflow_errors, open_client
from streamflow.registry.mlflow_registry import Registry

HISTORY_HEAD_TAG = "streamflow.history_head"


def read_head(registry: Registry) -> tuple[int, str] | None:
    """The number and the hash that were written down last; None without any.

    Raises MlflowUnavailable.
    """
    client = open_client(registry.uri)
    with mlflow_errors():
        found = client.search_registered_models(f"name='{registry.model}'")
    text = found[0].tags.get(HISTORY_HEAD_TAG, "") if found else ""
    number, _, digest = text.partition(":")
    return (int(number), digest) if number.isdecimal() else None


def write_head(registry: Registry, number: int, digest: str) -> None:
    """Write the number and the hash of the newest row down. Raises MlflowUnavailable."""
    client = open_client(registry.uri)
    with mlflow_errors():
        client.set_registered_model_tag(registry.model, HISTORY_HEAD_TAG, f"{number}:{digest}")
