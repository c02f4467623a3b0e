"""Model files on this machine by their hash, and the version that was served last."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from streamflow.errors import UnservableModel
from streamflow.registry.records import ModelVersion
from streamflow.scratch import scratch
from streamflow.training import served_model


def cached_model_files(cache: Path, version: ModelVersion, fetch: Callable[[Path], Path]) -> Path:
    """The folder in `cache` with the version's served form, named by its hash.

    If the cache lacks it, `fetch` returns a folder with the version's files; it may create the
    folder that it is given. Raises UnservableModel if they aren't the registered ones.
    """
    cached = cache / version.model_hash
    if version.model_hash and _intact(cached, version):
        return cached
    cache.mkdir(parents=True, exist_ok=True)
    with scratch(cache / "scratch") as temporary:
        fetched = fetch(temporary / "fetched")
        found = [path.parent for path in fetched.rglob(served_model.SCHEMA_FILE)]
        served = temporary / "served"
        if len(found) == 1:
            served.mkdir()
            for file in filter(Path.is_file, found[0].iterdir()):
                shutil.copyfile(file, served / file.name)
        if len(found) != 1 or served_model.digest(served) != version.model_hash:
            raise UnservableModel(
                f"The files of {version.name} version {version.version} aren't the ones that "
                "were registered: their hash differs.",
                "Train again with `streamflow train`, and promote that version.",
            )
        shutil.rmtree(cached, ignore_errors=True)
        try:
            served.rename(cached)
        except OSError:  # another process has cached it meanwhile
            if not _intact(cached, version):
                raise
    return cached


def _intact(folder: Path, version: ModelVersion) -> bool:
    return folder.is_dir() and served_model.digest(folder) == version.model_hash


_FIELDS = ("name", "version", "run_id", "stage", "model_hash")


class LastServed:
    """A file in `cache` with the version of one registered model that was served last."""

    def __init__(self, cache: Path, model: str) -> None:
        self._cache = cache
        self._file = cache / f"{quote(model, safe='')}.json"

    def record(self, version: ModelVersion | None) -> None:
        """Record the version that is served from now on; None if none is.

        Raises OSError; the record before then stays.
        """
        if version is None:
            self._file.unlink(missing_ok=True)
            return
        with scratch(self._cache / "scratch") as folder:
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
        folder = self._cache / version.model_hash
        if not _intact(folder, version):
            raise UnservableModel(
                f"The files of {version.name} version {version.version}, which was served "
                "last, are missing or have changed: their hash differs.",
                "Bring the registry back; the API then fetches them again by itself.",
            )
        return version, folder
