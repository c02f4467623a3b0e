"""Model files on this machine, by their hash; and which version answered last."""

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


def keep(cache: Path, version: ModelVersion, fetch: Callable[[Path], Path]) -> Path:
    """The served form in `cache`, by its hash; if it isn't there, out of what `fetch` gives, which
    may use the folder that it's handed.

    Raises UnservableModel if it isn't what was registered.
    """
    kept = cache / version.model_hash
    if version.model_hash and kept.is_dir() and served_model.digest(kept) == version.model_hash:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with scratch(cache / "scratch") as temporary:
        fetched = fetch(temporary / "fetched")
        found = [path.parent for path in fetched.rglob(served_model.SCHEMA_FILE)]
        if len(found) == 1:
            (temporary / "served").mkdir()
            for file in filter(Path.is_file, found[0].iterdir()):
                shutil.copyfile(file, temporary / "served" / file.name)
        if len(found) != 1 or served_model.digest(temporary / "served") != version.model_hash:
            raise UnservableModel(
                f"The files of {version.name} version {version.version} aren't the ones that "
                "were registered: their hash differs.",
                "Train again with `streamflow train`, and promote that version.",
            )
        shutil.rmtree(kept, ignore_errors=True)
        try:
            (temporary / "served").rename(kept)
        except OSError:
            if served_model.digest(kept) != version.model_hash:  # not another process's copy
                raise
    return kept


_FACTS = ("name", "version", "run_id", "stage", "model_hash")


class LastServed:
    """Of one registered model; `cache` is where `production.keep` keeps files by their hash."""

    def __init__(self, cache: Path, model: str) -> None:
        self._cache = cache
        self._file = cache / f"{quote(model, safe='')}.json"

    def record(self, version: ModelVersion | None) -> None:
        """The version answers from now on; None: none does, so that none is to be recalled.

        Raises OSError; what was remembered before then stays.
        """
        if version is None:
            self._file.unlink(missing_ok=True)
            return
        with scratch(self._cache / "scratch") as folder:
            with (folder / self._file.name).open("w", encoding="utf-8") as file:
                json.dump({fact: getattr(version, fact) for fact in _FACTS}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, self._file)

    def read(self) -> tuple[ModelVersion, Path] | None:
        """What was remembered last, without aliases and metrics, and the folder of its files.

        Raises UnservableModel if they aren't what they were, OSError.
        """
        try:
            told = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        version = ModelVersion(**told, aliases=(), metrics={})
        folder = self._cache / version.model_hash
        if not folder.is_dir() or served_model.digest(folder) != version.model_hash:
            raise UnservableModel(
                f"The files of {version.name} version {version.version}, which answered last, "
                "aren't there as they were: their hash differs.",
                "Bring the registry back; the API then fetches them again by itself.",
            )
        return version, folder
