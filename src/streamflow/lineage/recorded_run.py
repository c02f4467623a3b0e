"""What a run left to be compared with: its lineage, its training set, its validation scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamflow.lineage import document as lineage
from streamflow.lineage.document import LINEAGE_FILE, Lineage
from streamflow.registry.mlflow_registry import Registry
from streamflow.registry.records import Run
from streamflow.training import canonical, dataset_table
from streamflow.training.candidate import SCORES_FILE
from streamflow.training.dataset_table import TRAINING_SET_FILE


@dataclass(frozen=True)
class KeptRun:
    """`table` and `scores` are Arrow tables; None if they weren't kept, or aren't what was kept.

    `version` is None where none is registered any more.
    """

    run: Run
    version: int | None
    lineage: Lineage
    table: Any | None
    scores: Any | None


def find(registry: Registry, named: str) -> Run:
    """The run by its id, or by the number of its version. Raises UnknownRun, UnknownVersion."""
    if named.isdecimal() and len(named) < 10:
        return registry.run(registry.version(int(named)).run_id)
    return registry.run(named)


def read(registry: Registry, run: Run, folder: Path) -> KeptRun:
    """Fetch the run's documents into `folder`, held against their hashes.

    Raises NoLineage, MlflowUnavailable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = registry.artifact(run.run_id, LINEAGE_FILE, folder)
    recorded = lineage.recorded(run, document.read_text(encoding="utf-8") if document else None)

    def table(name: str, expected: str) -> Any | None:
        file = registry.artifact(run.run_id, name, folder)
        if file is None:
            return None
        try:
            found = dataset_table.read(file)
            return found if canonical.hashes(found)[0] == expected else None
        except (OSError, ValueError, KeyError):  # what pyarrow says of a file that was damaged
            return None

    return KeptRun(
        run=run,
        version=version_of(registry, run),
        lineage=recorded,
        table=table(TRAINING_SET_FILE, recorded.data.hash),
        scores=table(SCORES_FILE, recorded.model.scores_hash),
    )


def version_of(registry: Registry, run: Run) -> int | None:
    for version in registry.versions():
        if version.run_id == run.run_id:
            return version.version
    return None
