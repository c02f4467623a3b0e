"""Reads which version the API serves: the one in Production, if a recorded promotion admits it.

Whatever was changed elsewhere is written to the history by whoever sees it first. What was known
last holds while the history can't be read; while MLflow can't be read, the history itself says who
is in Production.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from streamflow.errors import NotPermitted, ServiceUnavailable, StreamFlowError
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.promotion import model_history
from streamflow.promotion.admission.admitted import (
    UngatedProduction,
    is_admitted,
    last_admitted,
    ungated,
)
from streamflow.promotion.admission.elsewhere import made_elsewhere
from streamflow.promotion.change import Change, RecordedChange
from streamflow.promotion.overrides import overrides_of
from streamflow.registry.production import StagesReader
from streamflow.registry.records import ModelVersion, Placed
from streamflow.registry.stages import PRODUCTION


class AdmittedReader:
    """A reader of the registry for the API's watcher; `serve_ungated` admits every version.

    With `notices` it writes what was changed elsewhere to the history, as the API may.
    After `production`, `ungated` says why what is in Production isn't served, if it isn't, and
    `registry_error` why MLflow couldn't be read, if it couldn't.
    """

    def __init__(
        self,
        reader: StagesReader,
        database: Database,
        model: str,
        *,
        serve_ungated: bool,
        now: Callable[[], datetime],
        notices: bool = True,
    ) -> None:
        self._reader = reader
        self._database = database
        self._model = model
        self._serve_ungated = serve_ungated
        self._now = now
        self._notices = notices
        self._changes: list[RecordedChange] | None = None
        self._followed: ModelVersion | None = None
        # What came last out of the same stages and changes comes again, at no cost for requests.
        self._judged: tuple[Placed, int] | None = None
        self._overrides: tuple[object, Sequence[Mapping[str, object]]] = None, ()
        self.ungated: UngatedProduction | None = None
        self.registry_error: StreamFlowError | None = None

    @classmethod
    def of(
        cls, platform: Platform, now: Callable[[], datetime], notices: bool = False
    ) -> AdmittedReader:
        """Over the platform's database and registry, by its settings."""
        return cls(
            platform.production,
            platform.database,
            platform.registry.model,
            serve_ungated=platform.settings.ungated == "serve",
            now=now,
            notices=notices,
        )

    def production(self) -> ModelVersion | None:
        """The version to serve, or None.

        Raises MlflowUnavailable if neither MLflow nor the history says it, DatabaseUnavailable if
        the history was never read.
        """
        self.registry_error = None
        settled: bool | None
        try:
            placed = self._reader.placed()
        except StreamFlowError as error:
            self._followed, self._judged = self._by_history(error), None
            self.registry_error = error
            return self._followed
        try:
            placed, settled = self._history_and(placed)
        except (ServiceUnavailable, NotPermitted):
            if self._changes is None and not self._serve_ungated:
                raise
            settled = None  # what was known last holds
        if settled is False and not self._serve_ungated:
            return self._followed
        judged = placed, len(self._changes or [])
        if self._judged != judged:
            self._followed = self._admitted(placed)
            self._judged = judged if settled else None
        return self._followed

    def overrides(self, version: int, model_hash: str) -> Sequence[Mapping[str, object]]:
        """The gates in spite of which the version, with this model, went to Production, by what is
        known of the history."""
        changes = self._changes or []
        asked = version, model_hash, len(changes)
        if self._overrides[0] != asked:
            found = [one.as_dict() for one in overrides_of(changes, version, model_hash)]
            self._overrides = asked, found
        return self._overrides[1]

    def staging(self) -> ModelVersion | None:
        """The highest version in Staging, or None, as MLflow has it."""
        return self._reader.staging()

    def download(self, version: ModelVersion) -> Path:
        """The folder with the version's served form, whose hash was checked."""
        return self._reader.download(version)

    def _history_and(self, placed: Placed) -> tuple[Placed, bool]:
        """The stages after the history was read and brought up to them. Not settled while a
        promotion is under way, which moves the stage before it is recorded."""
        changes = self._read_changes()
        if not self._notices or self._judged == (placed, len(changes)):
            return placed, True
        if not made_elsewhere(changes, placed, self._model, self._now()):
            return placed, True
        with self._database.transaction():
            locked = self._database.row("try_lock_promotion", model=self._model)["locked"]
            if not locked:
                return placed, False
            placed, changes = self._reader.placed(), self._read_changes()
            for change in made_elsewhere(changes, placed, self._model, self._now()):
                model_history.record_noticed(self._database, change)
        self._read_changes()
        return placed, True

    def _read_changes(self) -> list[RecordedChange]:
        known = self._changes or []
        after = known[-1].number if known else 0
        newer = model_history.changes(self._database, self._model, after)
        self._changes = [*known, *newer] if newer else known
        return self._changes

    def _admitted(self, placed: Placed) -> ModelVersion | None:
        there = placed.versions.get(PRODUCTION)
        self.ungated = None
        if self._serve_ungated:
            return there
        changes = self._changes or []
        if there is not None and is_admitted(changes, there.version, there.model_hash):
            return there
        last = last_admitted(changes)
        if there is None and last is None:
            return None
        number, digest = (there.version, there.model_hash) if there else (None, "")
        self.ungated = ungated(changes, self._model, number, digest)
        if last is None:
            return None
        return self._version(last, self.ungated)

    def _by_history(self, error: StreamFlowError) -> ModelVersion | None:
        """The version that the history says is in Production; raises the error if it says none."""
        if self._serve_ungated:
            raise error
        try:
            self._read_changes()
        except StreamFlowError:
            raise error from None
        last = last_admitted(self._changes or [])
        if last is None:
            raise error
        return self._version(last, error)

    def _version(self, change: Change, error: StreamFlowError) -> ModelVersion:
        """The version of the change. Raises the error if only MLflow knows which model it is."""
        followed = self._followed
        if (
            followed is not None
            and followed.version == change.version
            and change.model_hash in ("", followed.model_hash)
        ):
            return followed
        if change.version is None or not change.model_hash:
            raise error
        return ModelVersion(
            name=self._model,
            version=change.version,
            run_id=change.run_id,
            stage=PRODUCTION,
            aliases=(),
            metrics={},
            model_hash=change.model_hash,
        )
