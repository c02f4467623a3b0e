"""What the home keeps beside the database: logs, reports, generated months, what was left over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamflow.operations.forgetting import rows_of_files, texts
from streamflow.scratch import scratch
from streamflow.settings import Settings

REPORT_SUFFIXES = frozenset({".csv", ".htm", ".html", ".md", ".txt"})


def forget_in_home(settings: Settings, join_key: str, entities: Sequence[str]) -> dict[str, int]:
    """Take the entities out of the home's files; by file how many places that were.

    Raises OSError for a file that can't be written.
    """
    with scratch(settings.scratch):
        pass  # what killed processes left there is removed
    found: dict[str, int] = {}
    ids = frozenset(entities)
    for file in texts.text_files([settings.home / "data"]):
        if file.suffix.casefold() == ".csv":
            found[str(file)] = rows_of_files.leave_out_of_csv(file, join_key, ids)
        elif file.suffix.casefold() == ".parquet":
            found[str(file)] = rows_of_files.leave_out_of_parquet(file, join_key, ids)
    found_by = texts.patterns(entities)
    for file in texts.text_files([settings.home / "logs", settings.home / "reports"]):
        found[str(file)] = texts.mask(file, found_by)
    # A model's files aren't texts: an id may be a number in one of them.
    for file in texts.text_files([settings.artifacts], REPORT_SUFFIXES):
        if not _is_of_a_model(file, settings.artifacts):
            found[str(file)] = found.get(str(file), 0) + texts.mask(file, found_by)
    return {file: count for file, count in found.items() if count}


def _is_of_a_model(file: Path, artifacts: Path) -> bool:
    """Whether the file is below a folder with MLflow's description of a model."""
    return any(
        (parent / "MLmodel").exists() for parent in file.parents if parent.is_relative_to(artifacts)
    )
