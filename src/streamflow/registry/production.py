"""Reads the version in Production and its files without importing MLflow.

The import takes a second and 200 MB, too much for a process that only serves. A test compares what
is read here with MLflow's own client. MLflow reads the rest: files in an object store, and other
kinds of tracking servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from streamflow.errors import UnknownVersion
from streamflow.postgres.database import Database
from streamflow.registry.mlflow_rest import MlflowServer
from streamflow.registry.model_cache import ModelCache
from streamflow.registry.records import MODEL_HASH_TAG, ModelVersion, Placed
from streamflow.registry.stages import ALIASES, PRODUCTION, STAGING

_MLFLOW_ARTIFACTS = "mlflow-artifacts"
_MAX_DEPTH = 5


class ProductionReader(Protocol):
    """Reads which version of one registered model is in Production."""

    def production(self) -> ModelVersion | None:
        """The version of `models:/NAME/Production`, the highest in that stage, or None.

        Its aliases and metrics stay empty. Raises MlflowUnavailable.
        """

    def staging(self) -> ModelVersion | None:
        """The same for `models:/NAME/Staging`."""

    def download(self, version: ModelVersion) -> Path:
        """A local folder with the version's served form, whose hash was checked.

        Raises UnservableModel if it isn't what was registered, UnknownVersion, MlflowUnavailable.
        """


class StagesReader(ProductionReader, Protocol):
    """Reads who is in each stage too."""

    def placed(self) -> Placed:
        """Who is in Production and Staging, and their aliases. Raises MlflowUnavailable."""

    def version(self, number: int) -> ModelVersion | None:
        """The version with this number, without aliases and metrics; None if there is none.

        Raises MlflowUnavailable.
        """


class DatabaseReader:
    """Reads a registry that MLflow stores in the schema `mlflow` of our own PostgreSQL."""

    def __init__(
        self, database: Database, model: str, cache: ModelCache, mlflow: ProductionReader
    ) -> None:
        self._database = database
        self._model = model
        self._cache = cache
        self._mlflow = mlflow

    def production(self) -> ModelVersion | None:
        """The highest version in Production, or None."""
        return self._in_stage(PRODUCTION)

    def staging(self) -> ModelVersion | None:
        """The highest version in Staging, or None."""
        return self._in_stage(STAGING)

    def _in_stage(self, stage: str) -> ModelVersion | None:
        if not self._database.row("registry_exists")["exists"]:
            return None
        for row in self._database.rows(
            "version_in_stage", model=self._model, stage=stage, tag=MODEL_HASH_TAG
        ):
            return ModelVersion(**row, aliases=(), metrics={})
        return None

    def placed(self) -> Placed:
        """Who is in Production and Staging, and their aliases."""
        if not self._database.row("registry_exists")["exists"]:
            return Placed({}, {})
        versions, aliases = [], dict[str, int]()
        for row in self._database.rows(
            "placed_versions",
            model=self._model,
            stages=list(ALIASES),
            aliases=list(ALIASES.values()),
            tag=MODEL_HASH_TAG,
        ):
            aliases.update(dict.fromkeys(row.pop("named") or (), row["version"]))
            versions.append(ModelVersion(**row, aliases=(), metrics={}))
        return Placed.of(versions, aliases)

    def version(self, number: int) -> ModelVersion | None:
        """The version with this number, or None."""
        if not self._database.row("registry_exists")["exists"]:
            return None
        for row in self._database.rows(
            "registered_version", model=self._model, version=number, tag=MODEL_HASH_TAG
        ):
            return ModelVersion(**row, aliases=(), metrics={})
        return None

    def download(self, version: ModelVersion) -> Path:
        """The folder with the version's served form, whose hash was checked."""
        if (cached := self._cache.cached(version)) is not None:
            return cached
        rows = self._database.rows("version_files", model=version.name, version=version.version)
        if not rows:
            raise UnknownVersion(
                f"{version.name!r} has no version {version.version} any more.",
                "See `streamflow models`.",
            )
        folder = self._cache.local_folder(version, rows[0]["location"] or "", rows[0]["experiment"])
        if folder is None:
            return self._mlflow.download(version)
        return self._cache.files(version, lambda _: folder)


def _version(document: Mapping[str, Any]) -> ModelVersion:
    tags = {tag["key"]: tag["value"] for tag in document.get("tags", [])}
    return ModelVersion(
        name=document["name"],
        version=int(document["version"]),
        run_id=document.get("run_id", ""),
        stage=document["current_stage"],
        aliases=(),
        metrics={},
        model_hash=tags.get(MODEL_HASH_TAG, ""),
    )


class ServerReader:
    """Reads a registry over the REST API of an MLflow server."""

    def __init__(self, uri: str, model: str, cache: ModelCache, mlflow: ProductionReader) -> None:
        self._server = MlflowServer(uri)
        self._model = model
        self._cache = cache
        self._mlflow = mlflow

    def production(self) -> ModelVersion | None:
        """The highest version in Production, or None."""
        return self._placed({}).versions.get(PRODUCTION)

    def staging(self) -> ModelVersion | None:
        """The highest version in Staging, or None."""
        return self._placed({}).versions.get(STAGING)

    def placed(self) -> Placed:
        """Who is in Production and Staging, and their aliases."""
        try:
            model = self._server.document("mlflow/registered-models/get", name=self._model)
        except UnknownVersion:  # there is no such model yet
            return Placed({}, {})
        given = model["registered_model"].get("aliases", [])
        return self._placed({one["alias"]: int(one["version"]) for one in given})

    def _placed(self, aliases: Mapping[str, int]) -> Placed:
        quoted = self._model.replace("'", "''")
        address = "mlflow/model-versions/search"
        found = self._server.pages(address, "model_versions", filter=f"name='{quoted}'")
        return Placed.of((_version(one) for one in found), aliases)

    def version(self, number: int) -> ModelVersion | None:
        """The version with this number, or None."""
        where = {"name": self._model, "version": str(number)}
        try:
            document = self._server.document("mlflow/model-versions/get", **where)
        except UnknownVersion:
            return None
        return _version(document["model_version"])

    def download(self, version: ModelVersion) -> Path:
        """The folder with the version's served form, whose hash was checked."""
        if (cached := self._cache.cached(version)) is not None:
            return cached
        where = {"name": version.name, "version": str(version.version)}
        address = "mlflow/model-versions/get-download-uri"
        uri = self._server.document(address, **where)["artifact_uri"]
        parts = urlsplit(uri)
        if parts.scheme != _MLFLOW_ARTIFACTS or parts.netloc not in ("", self._server.host):
            return self._mlflow.download(version)

        def fetch(folder: Path) -> Path:
            self._fetch(version, unquote(parts.path).strip("/"), folder, self._cache.max_bytes)
            return folder

        return self._cache.files(version, fetch)

    def _fetch(
        self, version: ModelVersion, path: str, folder: Path, left: int, depth: int = 0
    ) -> int:
        """Fetch what is below `path`, at most `left` bytes; how many are left then."""
        folder.mkdir(parents=True, exist_ok=True)
        listed = self._server.document("mlflow-artifacts/artifacts", path=path)
        for file in listed.get("files", []):
            name = Path(file["path"]).name
            if name in ("", "..") or depth > _MAX_DEPTH:
                raise self._cache.outside(version, file["path"])
            if file.get("is_dir"):
                left = self._fetch(version, f"{path}/{name}", folder / name, left, depth + 1)
                continue
            if int(file.get("file_size") or 0) > left:
                raise self._cache.too_large(version)
            address = f"mlflow-artifacts/artifacts/{quote(f'{path}/{name}')}"
            left -= self._server.save(address, folder / name, left)
            if left < 0:
                raise self._cache.too_large(version)
        return left
