"""The services that a step of the pipeline works with. `bootstrap` builds them from settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamflow.postgres.database import Database
from streamflow.registry.mlflow_registry import Registry
from streamflow.registry.production import StagesReader
from streamflow.registry.records import ModelVersion
from streamflow.settings import Settings
from streamflow.use_case import UseCase


@dataclass(frozen=True)
class Platform:
    """Settings, use case, database and registry.

    `production` reads which version is in Production, without MLflow where that is possible.
    `columns` is the database with history read by another engine than PostgreSQL, if there is one.
    """

    settings: Settings
    use_case: UseCase
    database: Database
    registry: Registry
    production: StagesReader
    columns: Database | None = None

    @property
    def history(self) -> Database:
        """The database, with history read by the engine of the settings."""
        return self.columns or self.database

    def version(self, number: int) -> ModelVersion:
        """The version with this number, without aliases and metrics, read without MLflow where that
        is possible. Raises UnknownVersion, MlflowUnavailable."""
        return self.production.version(number) or self.registry.version(number)

    @property
    def artifacts(self) -> Path:
        """The folder with the files of runs and models."""
        return self.settings.artifacts

    @property
    def mlflow_uri(self) -> str:
        """The URI of the MLflow server, or of the database with MLflow's tables."""
        return self.registry.uri
