"""What a run has stored: its lineage, its training set and its validation scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.lineage import document as lineage
from streamflow.lineage.document import LINEAGE_FILE, Lineage
from streamflow.lineage.rows import recorded_rows
from streamflow.lineage.rows.recorded_rows import ROOT_TAGS, RecordedRows
from streamflow.lineage.rows.row_hashes import RowHashes
from streamflow.registry.mlflow_registry import Registry
from streamflow.registry.records import Run
from streamflow.training.candidate import SCORES_FILE
from streamflow.training.dataset_table import TRAINING_SET_FILE

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class RecordedRun:
    """A run with its documents; `table` is its training set.

    `table` and `scores` are None if they weren't stored, or their hashes aren't the recorded ones.
    Where rows were forgotten, the others are there, each checked by its own hash: `hashes` has
    those of the training set, None if there are none. `version` is None if the run has no
    registered version any more.
    """

    run: Run
    version: int | None
    lineage: Lineage
    table: pa.Table | None
    scores: pa.Table | None
    hashes: RowHashes | None = None

    @property
    def forgotten(self) -> int:
        """How many rows of the training set were forgotten, as far as is known."""
        return self.hashes.forgotten if self.hashes is not None else 0


def find(registry: Registry, run_or_version: str) -> Run:
    """The run by its id, or by the number of its version. Raises UnknownRun, UnknownVersion."""
    if run_or_version.isdecimal() and len(run_or_version) < 10:
        return registry.run(registry.version(int(run_or_version)).run_id)
    return registry.run(run_or_version)


def read(registry: Registry, run: Run, folder: Path) -> RecordedRun:
    """Fetch the run's documents into `folder` and check their hashes.

    Raises NoLineage, MlflowUnavailable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = registry.artifact(run.run_id, LINEAGE_FILE, folder)
    recorded = lineage.read_recorded(
        run, document.read_text(encoding="utf-8") if document else None
    )

    def rows(name: str, expected: str) -> RecordedRows:
        def fetch(file: str) -> Path | None:
            return registry.artifact(run.run_id, file, folder)

        return recorded_rows.read(name, expected, run.tags.get(ROOT_TAGS[name]), fetch)

    training_set = rows(TRAINING_SET_FILE, recorded.data.hash)
    return RecordedRun(
        run=run,
        version=version_number(registry, run),
        lineage=recorded,
        table=training_set.table,
        scores=rows(SCORES_FILE, recorded.model.scores_hash).table,
        hashes=training_set.hashes,
    )


def version_number(registry: Registry, run: Run) -> int | None:
    """The number of the run's registered version, if it has one."""
    for version in registry.versions():
        if version.run_id == run.run_id:
            return version.version
    return None
