"""Which version is in Production, and its files: read without MLflow, which takes a second and
200 MB that a process that only serves doesn't have.

The registry stays the one truth: a test holds what is read here against MLflow's own client. What
can't be read this way (an object store, another kind of tracking server) MLflow reads.
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
from streamflow.registry.model_cache import keep
from streamflow.registry.records import MODEL_HASH_TAG, ModelVersion
from streamflow.registry.stages import PRODUCTION

_PATIENCE_SECONDS = 10
_MLFLOW_ARTIFACTS = "mlflow-artifacts"


class Production(Protocol):
    def production(self) -> ModelVersion | None:
        """What `models:/NAME/Production` resolves to: the highest version in that stage. Aliases
        and metrics stay empty. Raises MlflowUnavailable."""

    def download(self, version: ModelVersion) -> Path:
        """A local folder with the version's served form, held against its hash.

        Raises UnservableModel if it isn't what was registered, UnknownVersion, MlflowUnavailable.
        """


class InDatabase:
    """A registry that MLflow keeps in the schema `mlflow` of our own PostgreSQL."""

    def __init__(self, database: Database, model: str, cache: Path, mlflow: Production) -> None:
        self._database = database
        self._model = model
        self._cache = cache
        self._mlflow = mlflow

    def production(self) -> ModelVersion | None:
        if not self._database.row("registry_exists")["exists"]:
            return None
        for row in self._database.rows(
            "production_version", model=self._model, stage=PRODUCTION, tag=MODEL_HASH_TAG
        ):
            return ModelVersion(**row, aliases=(), metrics={})
        return None

    def download(self, version: ModelVersion) -> Path:
        rows = self._database.rows("version_files", model=version.name, version=version.version)
        if not rows:
            raise UnknownVersion(
                f"{version.name!r} has no version {version.version} any more.",
                "See `streamflow models`.",
            )
        folder = _local(rows[0]["location"] or "")
        if folder is None:
            return self._mlflow.download(version)
        return keep(self._cache, version, lambda scratch: folder)


class OnServer:
    """A registry behind an MLflow server's HTTP address."""

    def __init__(self, uri: str, model: str, cache: Path, mlflow: Production) -> None:
        self._uri = uri.rstrip("/")
        self._model = model
        self._cache = cache
        self._mlflow = mlflow

    def production(self) -> ModelVersion | None:
        quoted = self._model.replace("'", "''")
        found = self._ask("mlflow/model-versions/search", filter=f"name='{quoted}'")
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
        where = {"name": version.name, "version": str(version.version)}
        uri = self._ask("mlflow/model-versions/get-download-uri", **where)["artifact_uri"]
        parts = urlsplit(uri)
        if parts.scheme != _MLFLOW_ARTIFACTS or parts.netloc:
            return self._mlflow.download(version)

        def fetch(folder: Path) -> Path:
            self._fetch(unquote(parts.path).strip("/"), folder)
            return folder

        return keep(self._cache, version, fetch)

    def _fetch(self, path: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for file in self._ask("mlflow-artifacts/artifacts", path=path).get("files", []):
            name = Path(file["path"]).name
            if file.get("is_dir"):
                self._fetch(f"{path}/{name}", folder / name)
            else:
                address = f"mlflow-artifacts/artifacts/{quote(f'{path}/{name}')}"
                (folder / name).write_bytes(self._get(address))

    def _ask(self, address: str, **parameters: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._get(f"{address}?{urlencode(parameters)}"))
        return answer

    def _get(self, address: str) -> bytes:
        request = urllib.request.Request(f"{self._uri}/api/2.0/{address}")
        user = os.environ.get("MLFLOW_TRACKING_USERNAME")  # as MLflow's own client takes them
        if user is not None:
            credentials = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
            encoded = base64.b64encode(credentials.encode()).decode()
            request.add_header("Authorization", f"Basic {encoded}")
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:
                content: bytes = answer.read()
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
