"""The version that answered last, on disk beside its files: what a start without the registry goes
on with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

from streamflow.errors import UnservableModel
from streamflow.registry.records import ModelVersion
from streamflow.scratch import scratch
from streamflow.training import served_model

_FACTS = ("name", "version", "run_id", "stage", "model_hash")


class LastGood:
    """Of one registered model; `cache` is where `production.keep` keeps files by their hash."""

    def __init__(self, cache: Path, model: str) -> None:
        self._cache = cache
        self._file = cache / f"{quote(model, safe='')}.json"

    def remember(self, version: ModelVersion | None) -> None:
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

    def recall(self) -> tuple[ModelVersion, Path] | None:
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
