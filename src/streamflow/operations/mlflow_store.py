"""Where MLflow keeps its tables and files, for what copies them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streamflow.bootstrap import MLFLOW_SCHEMA
from streamflow.errors import InvalidSettings
from streamflow.postgres.database import Database
from streamflow.settings import Settings


@dataclass(frozen=True)
class MlflowStore:
    """What MLflow keeps: tables in a schema, and the files in `artifacts` that they name by URIs
    below `location`."""

    database: Database
    schema: str
    artifacts: Path
    location: str


@contextmanager
def mlflow_store(settings: Settings, database: Database) -> Iterator[MlflowStore]:
    """MLflow's store, behind its server if there is one. Raises InvalidSettings if that's a
    stranger's."""
    artifacts = settings.artifacts
    if settings.mlflow_database_url is not None:
        with Database(settings.mlflow_database_url.get_secret_value()) as theirs:
            yield MlflowStore(theirs, "public", artifacts, "mlflow-artifacts:/")
    elif settings.mlflow_tracking_uri is not None:
        raise InvalidSettings(
            "Runs and models are on an MLflow server, and nothing says where that keeps them.",
            "Set STREAMFLOW_MLFLOW_DATABASE_URL to its database, and make "
            f"{artifacts} the folder of its artifacts.",
        )
    else:
        yield MlflowStore(database, MLFLOW_SCHEMA, artifacts, artifacts.as_uri())
