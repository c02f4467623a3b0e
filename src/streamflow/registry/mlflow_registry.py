"""Runs, versions, stages and aliases in MLflow, through MLflow's own client.

The stage is the contract (`models:/NAME/Production`); the alias is MLflow's newer name for the same
version. Opening MLflow's store takes a second, so it is done at the first use.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from streamflow.errors import UnknownRun, UnknownVersion
from streamflow.registry.mlflow_client import mlflow_errors, open_client
from streamflow.registry.mlflow_deletion import delete_run
from streamflow.registry.mlflow_entities import in_stage, model_version, our_run, our_runs, pages
from streamflow.registry.mlflow_signature import signature
from streamflow.registry.model_cache import ModelCache
from streamflow.registry.records import MODEL_HASH_TAG, ModelVersion, Placed, Run, RunRecord
from streamflow.registry.search_trials import record_trials
from streamflow.registry.stages import ALIASES, PRODUCTION, STAGING
from streamflow.training import served_model

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

# So many runs or versions are read at a time.
PAGE = 1000
# Behind these is no store of files, and MLflow's client would show them our credentials.
_NO_STORES = ("http", "https", "ftp")


class Registry:
    """One registered model and its experiment, on an MLflow server or directly in the database.

    `artifacts` is the folder for the files of a new experiment; None if a server decides.
    `cache` is for downloaded models, by their hash.
    """

    def __init__(self, uri: str, model: str, artifacts: Path | None, cache: ModelCache) -> None:
        self.uri = uri
        self.model = model
        self.cache = cache
        self._artifacts = artifacts

    @cached_property
    def _client(self) -> MlflowClient:
        return open_client(self.uri)

    def prepare(self) -> None:
        """Create MLflow's tables if they don't exist, before several processes start."""
        with mlflow_errors():
            self._client.search_experiments(max_results=1)

    def experiment(self) -> str:
        """The id of the model's experiment, which is created at the first use."""
        with mlflow_errors():
            found = self._client.get_experiment_by_name(self.model)
            if found is not None:
                return str(found.experiment_id)
            location = self._artifacts.as_uri() if self._artifacts else None
            return str(self._client.create_experiment(self.model, artifact_location=location))

    def create_run(self, name: str) -> str:
        """Create a run and return its id; its status is RUNNING."""
        with mlflow_errors():
            run = self._client.create_run(self.experiment(), run_name=name)
            return str(run.info.run_id)

    def record_run(self, run_id: str, record: RunRecord) -> ModelVersion:
        """Store the run, then register its model as a new version.

        A process that is killed before the last step leaves a run without a version, which
        `close_interrupted_run` hides.
        """
        import mlflow
        from mlflow.entities import Metric, Param, RunTag

        client = self._client
        with mlflow_errors():
            client.log_batch(
                run_id,
                metrics=[Metric(key, value, 0, 0) for key, value in record.metrics.items()],
                params=[Param(key, str(value)[:6000]) for key, value in record.params.items()],
                tags=[RunTag(key, str(value)) for key, value in record.tags.items()],
            )
            client.log_artifacts(run_id, str(record.artifacts))
            record_trials(client, self.experiment(), run_id, record.trials)
            mlflow.set_tracking_uri(self.uri)
            mlflow.set_registry_uri(self.uri)
            with mlflow.start_run(run_id=run_id):
                logged = mlflow.pyfunc.log_model(
                    name="model",
                    loader_module="served_model",
                    data_path=str(record.served_form),
                    code_paths=[str(Path(served_model.__file__).parent)],
                    signature=signature(record.schema),
                    input_example=record.input_example,
                    pip_requirements=record.requirements,
                )
                try:
                    client.create_registered_model(self.model)
                except mlflow.exceptions.MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                # While the run is RUNNING: so every finished run has a version.
                version = client.create_model_version(
                    self.model,
                    source=logged.model_uri,
                    run_id=run_id,
                    model_id=logged.model_id,
                    tags={MODEL_HASH_TAG: record.tags[MODEL_HASH_TAG]},
                )
        return self.version(int(version.version))

    def close_interrupted_run(self, run_id: str) -> None:
        """Finish the run if it has a version, delete it with its files otherwise: it has status
        KILLED then."""
        with mlflow_errors():
            if any(version.run_id == run_id for version in self._search_versions()):
                self._client.set_terminated(run_id)
                return
            self._client.set_terminated(run_id, status="KILLED")
        self.delete_run(run_id)

    def delete_run(self, run_id: str) -> None:
        """Delete the run with its versions, its models and all their files; safe to run again."""
        with mlflow_errors():
            delete_run(self._client, self.cache, self.experiment(), self.model, run_id)

    def runs(self) -> list[Run]:
        """All trainings that aren't deleted, newest first; without the trials of a search."""
        with mlflow_errors():
            experiments = [self.experiment()]
            search = self._client.search_runs
            return our_runs(
                pages(lambda token: search(experiments, max_results=PAGE, page_token=token))
            )

    def run(self, run_id: str) -> Run:
        """The run. Raises UnknownRun if it doesn't exist, is deleted, or is another model's."""
        from mlflow.exceptions import MlflowException

        with mlflow_errors():
            try:
                found: MlflowRun | None = self._client.get_run(run_id)
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                found = None
            experiment = self.experiment()
        if (
            found is None
            or found.info.experiment_id != experiment
            or found.info.lifecycle_stage != "active"
        ):
            raise UnknownRun(f"{self.model!r} has no run {run_id!r}.", "See `streamflow runs`.")
        return our_run(found)

    def artifact(self, run_id: str, name: str, folder: Path) -> Path | None:
        """A copy below `folder` of one of the run's files; None if it has no such file."""
        with mlflow_errors():
            if name not in {file.path for file in self._client.list_artifacts(run_id)}:
                return None
            return Path(self._client.download_artifacts(run_id, name, str(folder)))

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags on the run and on its versions."""
        versions = [one.version for one in self._search_versions() if one.run_id == run_id]
        with mlflow_errors():
            for key, value in tags.items():
                self._client.set_tag(run_id, key, value)
                for version in versions:
                    self._client.set_model_version_tag(self.model, version, key, value)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to the run; those that it has with the same values stay as they are."""
        from mlflow.entities import Metric

        with mlflow_errors():
            measured = [Metric(key, value, 0, 0) for key, value in metrics.items()]
            self._client.log_batch(run_id, metrics=measured)

    def _search_versions(self) -> list[MlflowVersion]:
        """All versions, newest first."""
        quoted = "'" + self.model.replace("'", "''") + "'"
        with mlflow_errors():
            found = list(
                pages(
                    lambda token: self._client.search_model_versions(
                        f"name={quoted}", max_results=PAGE, page_token=token
                    )
                )
            )
        return sorted(found, key=lambda version: -int(version.version))

    def versions(self) -> list[ModelVersion]:
        """All versions with their stages, aliases and metrics, newest first."""
        found = self._search_versions()
        if not found:
            return []
        with mlflow_errors():
            model = self._client.get_registered_model(self.model)
        runs = {run.run_id: run for run in self.runs()}
        return [
            model_version(
                one,
                aliases=[
                    alias for alias, version in model.aliases.items() if version == one.version
                ],
                run=runs.get(one.run_id),
            )
            for one in found
        ]

    def version(self, number: int) -> ModelVersion:
        """The version of this number. Raises UnknownVersion."""
        versions = self.versions()
        for version in versions:
            if version.version == number:
                return version
        raise UnknownVersion(
            f"{self.model!r} has no version {number}; it has: "
            f"{', '.join(str(version.version) for version in versions) or 'none yet'}.",
            "See `streamflow models`.",
        )

    def production(self) -> ModelVersion | None:
        """The highest version in Production, or None; by one query, without aliases and metrics."""
        return in_stage(self._search_versions(), PRODUCTION)

    def staging(self) -> ModelVersion | None:
        """The same of Staging."""
        return in_stage(self._search_versions(), STAGING)

    def placed(self) -> Placed:
        """Who is in Production and Staging, and their aliases."""
        if not (found := self._search_versions()):
            return Placed({}, {})
        with mlflow_errors():
            aliases = self._client.get_registered_model(self.model).aliases
        return Placed.of(map(model_version, found), {one: int(aliases[one]) for one in aliases})

    def set_stage(self, version: int, stage: str) -> None:
        """Move the version to the stage, archive others in it, and move the aliases."""
        with mlflow_errors():
            self._client.transition_model_version_stage(
                self.model, str(version), stage, archive_existing_versions=stage in ALIASES
            )
            self.align_aliases()

    def align_aliases(self) -> None:
        """Point each alias to the highest version in its stage, also after a change by others."""
        versions = self.versions()
        with mlflow_errors():
            for stage, alias in ALIASES.items():
                holder = next((one for one in versions if one.stage == stage), None)
                pointing = [one.version for one in versions if alias in one.aliases]
                if holder is not None and pointing != [holder.version]:
                    self._client.set_registered_model_alias(self.model, alias, str(holder.version))
                elif holder is None and pointing:
                    self._client.delete_registered_model_alias(self.model, alias)

    def download(self, version: ModelVersion) -> Path:
        """A local folder with the version's served form, whose hash was checked.

        Raises UnservableModel if it isn't what was registered, MlflowUnavailable.
        """
        if (cached := self.cache.cached(version)) is not None:
            return cached
        with mlflow_errors():
            location = self._client.get_model_version_download_uri(
                version.name, str(version.version)
            )
            experiment = self._client.get_experiment_by_name(self.model)
        parts, own = urlsplit(location), urlsplit(self.uri).netloc.rpartition("@")[2]
        proxied = parts.scheme == "mlflow-artifacts"
        if parts.scheme in _NO_STORES or (proxied and parts.netloc not in ("", own)):
            raise self.cache.outside(version, location)
        self.cache.local_folder(
            version, location, experiment.artifact_location if experiment else None
        )

        def fetch(folder: Path) -> Path:
            import mlflow

            folder.mkdir()
            mlflow.set_tracking_uri(self.uri)
            mlflow.set_registry_uri(self.uri)
            uri = f"models:/{version.name}/{version.version}"
            return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))

        with mlflow_errors():
            return self.cache.files(version, fetch)
