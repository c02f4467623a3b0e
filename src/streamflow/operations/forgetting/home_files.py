"""What the home keeps beside the database: logs, reports, generated months, what was left over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamflow.history.parquet.history_files import remove_copies
from streamflow.operations.forgetting import rows_of_files, texts
from streamflow.scratch import scratch
from streamflow.settings import Settings

PAGE_SUFFIXES = frozenset({".htm", ".html", ".md"})


def forget_in_home(settings: Settings, join_key: str, entities: Sequence[str]) -> dict[str, int]:
    """Take the entities out of the home's files; by file how many places that were.

    Raises OSError for a file that can't be written.
    """
    for folder in (settings.scratch, settings.spill):
        with scratch(folder):
            pass  # what killed processes left there is removed
    remove_copies(settings.home)
    found: dict[str, int] = {}
    ids = frozenset(entities)
    for file in texts.text_files([settings.home / "data"]):
        if file.suffix.casefold() == ".csv":
            found[str(file)] = rows_of_files.leave_out_of_csv(file, join_key, ids)
        elif file.suffix.casefold() == ".parquet":
            found[str(file)] = rows_of_files.leave_out_of_parquet(file, join_key, ids)
    found_by = texts.patterns(entities)
    # A page of figures names nobody, unless somebody wrote it in: a number there is a figure.
    in_pages = texts.patterns(entity for entity in entities if texts.is_distinctive(entity))
    for file in texts.text_files([settings.home / "logs", settings.home / "reports"]):
        is_page = file.suffix.casefold() in PAGE_SUFFIXES
        found[str(file)] = texts.mask(file, in_pages if is_page else found_by)
    for file in texts.text_files([settings.artifacts], PAGE_SUFFIXES):
        if not _is_of_a_model(file, settings.artifacts):
            found[str(file)] = texts.mask(file, in_pages)
    return {file: count for file, count in found.items() if count}


def _is_of_a_model(file: Path, artifacts: Path) -> bool:
    """Whether the file is below a folder with MLflow's description of a model."""
    return any(
        (parent / "MLmodel").exists() for parent in file.parents if parent.is_relative_to(artifacts)
    )
