"""What a run has stored: its lineage, its training set and its validation scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.lineage import document as lineage
from streamflow.lineage.document import LINEAGE_FILE, Lineage
from streamflow.registry.mlflow_registry import Registry
from streamflow.registry.records import Run
from streamflow.training import canonical, dataset_table
from streamflow.training.candidate import SCORES_FILE
from streamflow.training.dataset_table import TRAINING_SET_FILE

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class RecordedRun:
    """A run with its documents; `table` is its training set.

    `table` and `scores` are None if they weren't stored, or their hashes aren't the recorded ones.
    `version` is None if the run has no registered version any more.
    """

    run: Run
    version: int | None
    lineage: Lineage
    table: pa.Table | None
    scores: pa.Table | None


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

    def table(name: str, expected: str) -> pa.Table | None:
        file = registry.artifact(run.run_id, name, folder)
        if file is None:
            return None
        try:
            stored = dataset_table.read(file)
            return stored if canonical.hashes(stored)[0] == expected else None
        except (OSError, ValueError, KeyError):  # pyarrow raises these for a damaged file
            return None

    return RecordedRun(
        run=run,
        version=version_number(registry, run),
        lineage=recorded,
        table=table(TRAINING_SET_FILE, recorded.data.hash),
        scores=table(SCORES_FILE, recorded.model.scores_hash),
    )


def version_number(registry: Registry, run: Run) -> int | None:
    """The number of the run's registered version, if it has one."""
    for version in registry.versions():
        if version.run_id == run.run_id:
            return version.version
    return None
