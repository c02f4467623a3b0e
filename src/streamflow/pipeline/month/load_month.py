"""The first steps of a month: its files into history, its features online."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path

from streamflow.features.materialization import is_materialized
from streamflow.hashes import sha256_of
from streamflow.history.files.month_folder import find_files
from streamflow.history.ingestions import Recorded, recorded_ingestions
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.month.step import Step
from streamflow.platform import Platform
from streamflow.progress import Progress


def ingest_month(
    platform: Platform, folder: Path, as_of: date, now: datetime, who: str, progress: Progress
) -> Step:
    """Add the month to history, unless it has these very files.

    Raises NotArrived if the files may still come, and what `ingest` does.
    """
    files = find_files(folder, platform.use_case.tables())
    progress("hash the files")
    hashes = {table: sha256_of(file) for table, file in files.items()}
    changed = not _are_recorded(hashes, _recorded(platform, as_of))
    if changed:
        ingest(platform, folder, as_of, None, now, who, progress)
    recorded = {table: one for table, (one, _) in _recorded(platform, as_of).items()}
    rows = sum(recorded[table].tables[table]["rows"] for table in files)
    added = sum(recorded[table].tables[table]["added"] for table in files)
    return Step(
        "ingest",
        "done",
        f"{rows:,} rows of {len(files)} tables, {added:,} of them new",
        changed,
        {"files": hashes, "ingestions": sorted({one.ingestion_id for one in recorded.values()})},
    )


def _recorded(platform: Platform, as_of: date) -> dict[str, tuple[Recorded, str]]:
    """By table, the newest ingestion of the month that counts, and the hash of its file."""
    return {
        table: (one, file["sha256"])
        for one in recorded_ingestions(platform.database, platform.use_case)
        if one.as_of == as_of and one.withdrawn_at is None
        for table, file in one.tables.items()
    }


def _are_recorded(hashes: Mapping[str, str], recorded: Mapping[str, tuple[Recorded, str]]) -> bool:
    """Whether each file is the one of its table that was ingested last."""
    return all(table in recorded and recorded[table][1] == one for table, one in hashes.items())


def materialize_month(
    platform: Platform, as_of: date, known_at: datetime, now: datetime, progress: Progress
) -> Step:
    """Bring the month's features online, unless they are, or a later month's.

    Raises what `materialize` does.
    """
    online_store = platform.settings.online_store
    there = is_materialized(
        platform.database, platform.use_case, as_of, known_at, now, online_store
    )
    if not there:
        materialize(platform, as_of, now, progress)
    return Step("materialize", "done", f"features up to {as_of} are online", not there)
