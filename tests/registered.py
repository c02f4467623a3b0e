"""Runs and versions in MLflow without a training: what they hold isn't looked at."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient

from streamflow.platform import Platform
from streamflow.registry.records import MODEL_HASH_TAG


def register(ready: Platform, number: int) -> tuple[int, str]:
    """A version with a file in its run and one in its model; returns its number and run."""
    client = MlflowClient(tracking_uri=ready.registry.uri, registry_uri=ready.registry.uri)
    run_id = ready.registry.create_run(f"run {number}")
    client.log_text(run_id, "figures", "figures.txt")
    model = client.create_logged_model(
        client.get_run(run_id).info.experiment_id, source_run_id=run_id
    )
    client.log_model_artifacts(model.model_id, str(_folder_with_a_file(ready, number)))
    client.set_terminated(run_id)
    client.create_model_version(
        ready.registry.model,
        source=model.artifact_location,
        run_id=run_id,
        model_id=model.model_id,
        tags={MODEL_HASH_TAG: f"{number:064x}"},
    )
    newest = ready.registry.versions()[0]
    return newest.version, run_id


def register_four(ready: Platform) -> list[tuple[int, str]]:
    """Four versions, the second one in Production."""
    client = MlflowClient(tracking_uri=ready.registry.uri, registry_uri=ready.registry.uri)
    client.create_registered_model(ready.registry.model)
    made = [register(ready, number) for number in range(1, 5)]
    ready.registry.set_stage(made[1][0], "Production")
    return made


def _folder_with_a_file(ready: Platform, number: int) -> Path:
    folder = ready.settings.home / f"given {number}"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_text("a model")
    return folder
