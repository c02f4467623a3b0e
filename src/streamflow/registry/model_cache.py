"""Model files on this machine by their hash, and the version that was served last."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from streamflow.errors import UnservableModel
from streamflow.private_files import make_folder
from streamflow.registry.records import MODEL_HASH_TAG, ModelVersion
from streamflow.scratch import scratch
from streamflow.training import served_model

_MAX_FILES = 100
_TRAIN = "Train again with `streamflow train`, and promote that version."


@dataclass(frozen=True)
class ModelCache:
    """Models in `folder`, each in a folder that is named by its hash.

    From this machine, a registry may have files fetched only out of `store`, the folder for the
    files of new experiments, and out of the folder that the model's own experiment was made with.
    `megabytes` bounds the files of one model.
    """

    folder: Path
    store: Path
    megabytes: int = 500

    @property
    def max_bytes(self) -> int:
        """How large the files of one model may be together."""
        return self.megabytes * 1_000_000

    def path(self, version: ModelVersion) -> Path:
        """Where the version's files are, or would be.

        Whoever may write tags chooses the hash. Raises UnservableModel unless it is a SHA-256.
        """
        if re.fullmatch("[0-9a-f]{64}", version.model_hash) is None:
            told = f"is {version.model_hash[:80]!r}" if version.model_hash else "is missing"
            raise UnservableModel(
                f"Version {version.version} of {version.name!r} wasn't registered by `streamflow "
                f"train`: its tag {MODEL_HASH_TAG} {told}, where a SHA-256 should be.",
                "Promote another version with `streamflow promote`, or train one.",
            )
        return self.folder / version.model_hash

    def cached(self, version: ModelVersion) -> Path | None:
        """The folder with the version's files, if they are here and what was registered."""
        folder = self.path(version)
        return folder if _intact(folder, version) else None

    def files(self, version: ModelVersion, fetch: Callable[[Path], Path]) -> Path:
        """The folder with the version's served form, which the cache lacked.

        `fetch` returns a folder with the version's files; it may create the folder that it is
        given. Raises UnservableModel if they aren't the registered ones, or too large.
        """
        cached = self.path(version)
        make_folder(self.folder)
        with scratch(self.folder / "scratch") as temporary:
            fetched = fetch(temporary / "fetched")
            found = [path.parent for path in fetched.rglob(served_model.SCHEMA_FILE)]
            served = temporary / "served"
            if len(found) == 1:
                self._copy(version, found[0], served)
            if len(found) != 1 or served_model.digest(served) != version.model_hash:
                raise UnservableModel(
                    f"The files of {version.name} version {version.version} aren't the ones that "
                    "were registered: their hash differs.",
                    _TRAIN,
                )
            shutil.rmtree(cached, ignore_errors=True)
            try:
                served.rename(cached)
            except OSError:  # another process has cached it meanwhile
                if not _intact(cached, version):
                    raise
        return cached

    def local_folder(
        self, version: ModelVersion, location: str, experiment: str | None
    ) -> Path | None:
        """The folder that a location in a registry names; None if it isn't on this machine.

        `experiment` is where the files of the model's experiment lie, which MLflow never changes:
        another home may have made it. Raises UnservableModel for a folder outside, where anything
        may lie.
        """
        folder = _folder(location)
        if folder is None:
            return None
        stores = [self.store.resolve()]
        if experiment and (own := _folder(experiment)) is not None:
            stores.append(own)
        if not any(folder.is_relative_to(store) for store in stores):
            raise self.outside(version, location)
        if not folder.is_dir():
            raise UnservableModel(
                f"The files of {version.name} version {version.version} are gone: "
                f"there is no folder {folder}.",
                "Restore it from a backup, or train again with `streamflow train`.",
            )
        return folder

    def remove(self, owner: str, location: str) -> None:
        """Remove the files of a run or a model, named by its id, from the store, if that is on
        this machine."""
        folder = _folder(location)
        if folder is None or folder.parts[-2:] != (owner, "artifacts"):
            return
        if self.store.resolve() in folder.parent.parents:
            shutil.rmtree(folder.parent, ignore_errors=True)

    def outside(self, version: ModelVersion, location: str) -> UnservableModel:
        """The error for a location from which nothing is fetched."""
        return UnservableModel(
            f"The files of {version.name} version {version.version} lie outside the store of "
            f"models, {self.store}: {location[:200]}.",
            _TRAIN,
        )

    def too_large(self, version: ModelVersion) -> UnservableModel:
        """The error for files that no process shall have to hold."""
        return UnservableModel(
            f"The files of {version.name} version {version.version} are larger than "
            f"{self.megabytes:,} MB.",
            "Train a smaller model, or raise STREAMFLOW_MODEL_MEGABYTES.",
        )

    def _copy(self, version: ModelVersion, source: Path, target: Path) -> None:
        target.mkdir()
        # A link could lead out of the store.
        files = [one for one in source.iterdir() if one.is_file() and not one.is_symlink()]
        if len(files) > _MAX_FILES or sum(one.stat().st_size for one in files) > self.max_bytes:
            raise self.too_large(version)
        for file in files:
            shutil.copyfile(file, target / file.name, follow_symlinks=False)


def _folder(location: str) -> Path | None:
    parts = urlsplit(location)
    return Path(unquote(parts.path)).resolve() if parts.scheme in ("", "file") else None


def _intact(folder: Path, version: ModelVersion) -> bool:
    return folder.is_dir() and served_model.digest(folder) == version.model_hash


_FIELDS = ("name", "version", "run_id", "stage", "model_hash")


class LastServed:
    """A file in the cache with the version of one registered model that was served last."""

    def __init__(self, cache: ModelCache, model: str) -> None:
        self._cache = cache
        self._file = cache.folder / f"{quote(model, safe='')}.json"

    def record(self, version: ModelVersion | None) -> None:
        """Record the version that is served from now on; None if none is.

        Raises OSError; the record before then stays.
        """
        if version is None:
            self._file.unlink(missing_ok=True)
            return
        with scratch(self._cache.folder / "scratch") as folder:
            with (folder / self._file.name).open("w", encoding="utf-8") as file:
                json.dump({field: getattr(version, field) for field in _FIELDS}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, self._file)

    def read(self) -> tuple[ModelVersion, Path] | None:
        """The recorded version, without aliases and metrics, and the folder with its files.

        None if none is recorded. Raises UnservableModel if the files have changed, OSError.
        """
        try:
            recorded = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        version = ModelVersion(**recorded, aliases=(), metrics={})
        folder = self._cache.path(version)
        if not _intact(folder, version):
            raise UnservableModel(
                f"The files of {version.name} version {version.version}, which was served "
                "last, are missing or have changed: their hash differs.",
                "Bring the registry back; the API then fetches them again by itself.",
            )
        return version, folder
