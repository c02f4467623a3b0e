"""Takes a run away from MLflow, with its versions, its models and all their files.

MLflow itself marks a deleted run and leaves its files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from streamflow.registry.search_trials import trial_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from streamflow.registry.model_cache import ModelCache


def delete_run(
    client: MlflowClient, cache: ModelCache, experiment: str, model: str, run_id: str
) -> None:
    """Delete the run last: until then, whoever was interrupted finds it and deletes the rest."""
    versions = client.search_model_versions(f"run_id = '{run_id}'")
    for version in versions:
        if version.name == model:
            client.delete_model_version(model, version.version)
    owners = {run_id: client.get_run(run_id).info.artifact_uri}
    logged = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
    for one in logged:
        owners[one.model_id] = one.artifact_location
    for owner, location in owners.items():
        _delete_files(cache, owner, location)
    for one in logged:
        client.delete_logged_model(one.model_id)
    for trial in trial_runs(client, experiment, run_id):
        client.delete_run(trial)
    client.delete_run(run_id)


def _delete_files(cache: ModelCache, owner: str, location: str) -> None:
    if urlsplit(location).scheme in ("", "file"):
        cache.remove(owner, location)
        return
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(location).delete_artifacts()
