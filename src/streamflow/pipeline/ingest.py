"""The step that adds a month to history."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from streamflow.history import contract_findings
from streamflow.history import ingest as history
from streamflow.pipeline import checked_use_case
from streamflow.platform import Platform
from streamflow.progress import Progress, silent


def ingest(
    platform: Platform,
    folder: Path,
    as_of: date,
    recorded_at: datetime | None,
    now: datetime,
    who: str,
    progress: Progress = silent,
    complete: bool = False,
    really: bool = False,
) -> history.IngestedMonth:
    """Validate the month's files in `folder` and add new rows; see `history.ingest.ingest`.

    `recorded_at` (UTC) is `now` if it is None.
    """
    contract_findings.require_contracts(platform.use_case)
    checked_use_case.require_usable(platform)
    return history.ingest(
        platform.database,
        platform.use_case,
        folder,
        as_of,
        recorded_at or now,
        now,
        who,
        platform.settings.home / "reports",
        progress,
        complete,
        really,
    )
