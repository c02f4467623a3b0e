"""Reads the version in Production and its files without importing MLflow.

The import takes a second and 200 MB, too much for a process that only serves. A test compares what
is read here with MLflow's own client. MLflow reads the rest: files in an object store, and other
kinds of tracking servers.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlencode, urlsplit

from streamflow.errors import MlflowUnavailable, UnknownVersion
from streamflow.postgres.database import Database
from streamflow.registry.model_cache import cached_model_files
from streamflow.registry.records import MODEL_HASH_TAG, ModelVersion
from streamflow.registry.stages import PRODUCTION

_TIMEOUT_SECONDS = 10
_MLFLOW_ARTIFACTS = "mlflow-artifacts"


class ProductionReader(Protocol):
    """Reads which version of one registered model is in Production."""

    def production(self) -> ModelVersion | None:
        """The version of `models:/NAME/Production`, the highest in that stage, or None.

        Its aliases and metrics stay empty. Raises MlflowUnavailable.
        """

    def download(self, version: ModelVersion) -> Path:
        """A local folder with the version's served form, whose hash was checked.

        Raises UnservableModel if it isn't what was registered, UnknownVersion, MlflowUnavailable.
        """


class DatabaseReader:
    """Reads a registry that MLflow stores in the schema `mlflow` of our own PostgreSQL."""

    def __init__(
        self, database: Database, model: str, cache: Path, mlflow: ProductionReader
    ) -> None:
        self._database = database
        self._model = model
        self._cache = cache
        self._mlflow = mlflow

    def production(self) -> ModelVersion | None:
        """The highest version in Production, or None."""
        if not self._database.row("registry_exists")["exists"]:
            return None
        for row in self._database.rows(
            "production_version", model=self._model, stage=PRODUCTION, tag=MODEL_HASH_TAG
        ):
            return ModelVersion(**row, aliases=(), metrics={})
        return None

    def download(self, version: ModelVersion) -> Path:
        """The folder with the version's served form, whose hash was checked."""
        rows = self._database.rows("version_files", model=version.name, version=version.version)
        if not rows:
            raise UnknownVersion(
                f"{version.name!r} has no version {version.version} any more.",
                "See `streamflow models`.",
            )
        folder = _local(rows[0]["location"] or "")
        if folder is None:
            return self._mlflow.download(version)
        return cached_model_files(self._cache, version, lambda _: folder)


class ServerReader:
    """Reads a registry over the REST API of an MLflow server."""

    def __init__(self, uri: str, model: str, cache: Path, mlflow: ProductionReader) -> None:
        self._uri = uri.rstrip("/")
        self._model = model
        self._cache = cache
        self._mlflow = mlflow

    def production(self) -> ModelVersion | None:
        """The highest version in Production, or None."""
        quoted = self._model.replace("'", "''")
        found = self._request("mlflow/model-versions/search", filter=f"name='{quoted}'")
        versions = [
            version
            for version in found.get("model_versions", [])
            if version["current_stage"] == PRODUCTION
        ]
        if not versions:
            return None
        highest = max(versions, key=lambda version: int(version["version"]))
        tags = {tag["key"]: tag["value"] for tag in highest.get("tags", [])}
        return ModelVersion(
            name=highest["name"],
            version=int(highest["version"]),
            run_id=highest["run_id"],
            stage=highest["current_stage"],
            aliases=(),
            metrics={},
            model_hash=tags.get(MODEL_HASH_TAG, ""),
        )

    def download(self, version: ModelVersion) -> Path:
        """The folder with the version's served form, whose hash was checked."""
        where = {"name": version.name, "version": str(version.version)}
        uri = self._request("mlflow/model-versions/get-download-uri", **where)["artifact_uri"]
        parts = urlsplit(uri)
        if parts.scheme != _MLFLOW_ARTIFACTS or parts.netloc:
            return self._mlflow.download(version)

        def fetch(folder: Path) -> Path:
            self._fetch(unquote(parts.path).strip("/"), folder)
            return folder

        return cached_model_files(self._cache, version, fetch)

    def _fetch(self, path: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for file in self._request("mlflow-artifacts/artifacts", path=path).get("files", []):
            name = Path(file["path"]).name
            if file.get("is_dir"):
                self._fetch(f"{path}/{name}", folder / name)
            else:
                address = f"mlflow-artifacts/artifacts/{quote(f'{path}/{name}')}"
                (folder / name).write_bytes(self._get(address))

    def _request(self, address: str, **parameters: str) -> Any:
        """The JSON document of the response, as MLflow's REST API describes it."""
        return json.loads(self._get(f"{address}?{urlencode(parameters)}"))

    def _get(self, address: str) -> bytes:
        request = urllib.request.Request(f"{self._uri}/api/2.0/{address}")
        user = os.environ.get("MLFLOW_TRACKING_USERNAME")  # as for MLflow's own client
        if user is not None:
            credentials = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
            encoded = base64.b64encode(credentials.encode()).decode()
            request.add_header("Authorization", f"Basic {encoded}")
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
                content: bytes = response.read()
                return content
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            raise MlflowUnavailable(
                f"MLflow doesn't answer at {self._uri}: {error}.",
                "See `streamflow status`; start it with `streamflow up`, or correct "
                "STREAMFLOW_MLFLOW_TRACKING_URI.",
            ) from error


def _local(location: str) -> Path | None:
    parts = urlsplit(location)
    folder = Path(unquote(parts.path)) if parts.scheme in ("", "file") else None
    return folder if folder is not None and folder.is_dir() else None
