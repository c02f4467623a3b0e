"""MLflow, and nobody else's: runs, versions, stages and aliases.

Stage is the contract (`models:/NAME/Production`), alias its modern twin. MLflow takes a second to
import and as long to open its store, so both wait for the first use.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from streamflow.errors import MlflowUnavailable, StreamFlowError, UnknownRun, UnknownVersion
from streamflow.registry.mlflow_signature import signature
from streamflow.registry.model_cache import keep
from streamflow.registry.records import MODEL_HASH_TAG, ModelVersion, Run, RunRecord
from streamflow.registry.stages import ALIASES, PRODUCTION
from streamflow.training import served_model


class Registry:
    """One registered model and its experiment, on an MLflow server or straight in the database.

    `artifacts` is where a new experiment keeps its files; None leaves that to the server.
    `cache` keeps downloaded models, by their hash.
    """

    def __init__(self, uri: str, model: str, artifacts: Path | None, cache: Path) -> None:
        self.uri = uri
        self.model = model
        self._artifacts = artifacts
        self._cache = cache

    @cached_property
    def _client(self) -> Any:
        # A server that is down must be said in seconds, not after minutes of retries.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # What it logs as an error, with a traceback, it raises as well.
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        with self._answering():
            import mlflow

            if not self.uri.startswith("http"):
                from mlflow.store.db import utils

                utils.MAX_RETRY_COUNT = 4  # a second; by itself it tries for a hundred
            return mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                # Stages are deprecated, and our contract on purpose.
                warnings.simplefilter("ignore")
                yield
        except StreamFlowError:
            raise
        except Exception as error:
            first_line = str(error).strip().split("\n")[0]
            raise MlflowUnavailable(
                f"MLflow doesn't do what was asked: {first_line}.",
                "See `streamflow status`; start it with `streamflow up`, or correct "
                "STREAMFLOW_MLFLOW_TRACKING_URI.",
            ) from error

    def prepare(self) -> None:
        """Make MLflow's tables now, so that two processes don't want to at the same time."""
        with self._answering():
            self._client.search_experiments(max_results=1)

    def experiment(self) -> str:
        """The experiment's id; it's made on first use, as is the registered model."""
        with self._answering():
            found = self._client.get_experiment_by_name(self.model)
            if found is not None:
                return str(found.experiment_id)
            location = self._artifacts.as_uri() if self._artifacts else None
            return str(self._client.create_experiment(self.model, artifact_location=location))

    def create_run(self, name: str) -> str:
        with self._answering():
            run = self._client.create_run(self.experiment(), run_name=name)
            return str(run.info.run_id)

    def record(self, run_id: str, record: RunRecord) -> ModelVersion:
        """Keep the run and register its model as a new version, which is the last step.

        Killed before that, there is a run without a version, which `settle` hides.
        """
        import mlflow
        from mlflow.entities import Metric, Param, RunTag

        client = self._client
        with self._answering():
            client.log_batch(
                run_id,
                metrics=[Metric(key, value, 0, 0) for key, value in record.metrics.items()],
                params=[Param(key, str(value)[:6000]) for key, value in record.params.items()],
                tags=[RunTag(key, str(value)) for key, value in record.tags.items()],
            )
            client.log_artifacts(run_id, str(record.artifacts))
            mlflow.set_tracking_uri(self.uri)
            mlflow.set_registry_uri(self.uri)
            with mlflow.start_run(run_id=run_id):
                logged = mlflow.pyfunc.log_model(
                    name="model",
                    loader_module="served_model",
                    data_path=str(record.served_form),
                    code_paths=[served_model.__file__],
                    signature=signature(record.schema),
                    input_example=record.input_example,
                    pip_requirements=record.requirements,
                )
                try:
                    client.create_registered_model(self.model)
                except mlflow.exceptions.MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                # While the run is RUNNING, so that no finished run is without a version.
                version = client.create_model_version(
                    self.model,
                    source=logged.model_uri,
                    run_id=run_id,
                    model_id=logged.model_id,
                    tags={MODEL_HASH_TAG: record.tags[MODEL_HASH_TAG]},
                )
        return self.version(int(version.version))

    def settle(self, run_id: str) -> None:
        """End an interrupted run: with a version it's finished, without one it's hidden."""
        with self._answering():
            if any(item.run_id == run_id for item in self._found()):
                self._client.set_terminated(run_id)
                return
            self._client.set_terminated(run_id, status="KILLED")
            self._client.delete_run(run_id)

    def runs(self) -> list[Run]:
        """All runs that aren't deleted, newest first."""
        with self._answering():
            found = self._client.search_runs([self.experiment()], max_results=1000)
        return [_run(item) for item in found]

    def run(self, run_id: str) -> Run:
        """Raises UnknownRun for a run that isn't there, is hidden, or is another model's."""
        from mlflow.exceptions import MlflowException

        with self._answering():
            try:
                found = self._client.get_run(run_id)
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                found = None
            own = found is not None and found.info.experiment_id == self.experiment()
        if not own or found.info.lifecycle_stage != "active":
            raise UnknownRun(f"{self.model!r} has no run {run_id!r}.", "See `streamflow runs`.")
        return _run(found)

    def artifact(self, run_id: str, name: str, folder: Path) -> Path | None:
        """A copy below `folder` of one of the run's files; None if it has no such file."""
        with self._answering():
            if name not in {file.path for file in self._client.list_artifacts(run_id)}:
                return None
            return Path(self._client.download_artifacts(run_id, name, str(folder)))

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Put tags on the run and on the versions that were made from it."""
        versions = [item.version for item in self._found() if item.run_id == run_id]
        with self._answering():
            for key, value in tags.items():
                self._client.set_tag(run_id, key, value)
                for version in versions:
                    self._client.set_model_version_tag(self.model, version, key, value)

    def _found(self) -> list[Any]:
        with self._answering():
            found = self._client.search_model_versions(f"name='{self.model}'", max_results=10_000)
        return sorted(found, key=lambda item: -int(item.version))

    def versions(self) -> list[ModelVersion]:
        """All versions, newest first, with the stage each one is in."""
        found = self._found()
        if not found:
            return []
        with self._answering():
            model = self._client.get_registered_model(self.model)
        metrics = {run.run_id: run.metrics for run in self.runs()}
        return [
            _model_version(
                item,
                aliases=[
                    alias for alias, version in model.aliases.items() if version == item.version
                ],
                metrics=metrics.get(item.run_id, {}),
            )
            for item in found
        ]

    def version(self, number: int) -> ModelVersion:
        """Raises UnknownVersion."""
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
        """What `models:/NAME/Production` resolves to: the highest version in that stage.

        One query, because the API asks every second; aliases and metrics stay empty.
        """
        for item in self._found():
            if item.current_stage == PRODUCTION:
                return _model_version(item)
        return None

    def set_stage(self, version: int, stage: str) -> None:
        """Move the version, archive the others of that stage, and bring the aliases along."""
        with self._answering():
            self._client.transition_model_version_stage(
                self.model, str(version), stage, archive_existing_versions=stage in ALIASES
            )
            self.align_aliases()

    def align_aliases(self) -> None:
        """Point each alias to the highest version of its stage, however it got there."""
        versions = self.versions()
        with self._answering():
            for stage, alias in ALIASES.items():
                holder = next((one for one in versions if one.stage == stage), None)
                pointing = [one.version for one in versions if alias in one.aliases]
                if holder is not None and pointing != [holder.version]:
                    self._client.set_registered_model_alias(self.model, alias, str(holder.version))
                elif holder is None and pointing:
                    self._client.delete_registered_model_alias(self.model, alias)

    def download(self, version: ModelVersion) -> Path:
        """A local folder with the version's served form, held against its hash.

        Raises UnservableModel if it isn't what was registered, MlflowUnavailable.
        """

        def fetch(folder: Path) -> Path:
            import mlflow

            folder.mkdir()
            mlflow.set_tracking_uri(self.uri)
            mlflow.set_registry_uri(self.uri)
            uri = f"models:/{version.name}/{version.version}"
            return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))

        with self._answering():
            return keep(self._cache, version, fetch)


def _model_version(
    item: Any, aliases: Sequence[str] = (), metrics: Mapping[str, float] | None = None
) -> ModelVersion:
    return ModelVersion(
        name=item.name,
        version=int(item.version),
        run_id=item.run_id,
        stage=item.current_stage,
        aliases=tuple(sorted(aliases)),
        metrics=dict(metrics or {}),
        model_hash=item.tags.get(MODEL_HASH_TAG, ""),
    )


def _run(item: Any) -> Run:
    return Run(
        item.info.run_id,
        item.info.status,
        item.info.start_time / 1000,
        item.data.params,
        item.data.metrics,
        item.data.tags,
    )
