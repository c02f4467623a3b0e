"""The step that writes the report of a month: a file, and a copy with the run in MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from streamflow.pipeline.month.reported import month_report, newest_scoring
from streamflow.platform import Platform
from streamflow.private_files import make_folder
from streamflow.progress import Progress, silent
from streamflow.registry.run_files import keep_file
from streamflow.reports.page import render
from streamflow.scratch import replacement

# Below a run's artifacts.
FOLDER = "reports"


@dataclass(frozen=True)
class Reported:
    """A report; `changed` is False if the file and MLflow's copy were there with these bytes.

    `run_id` has the copy: of the version that scored the month, None if nobody was scored.
    """

    as_of: date
    file: Path
    run_id: str | None
    changed: bool


def report(
    platform: Platform, as_of: date, output: Path | None = None, progress: Progress = silent
) -> Reported:
    """Write the report of the month to `output`, or below STREAMFLOW_HOME without it, and keep a
    copy with the run whose version scored the month.

    Raises NotMonitored if the month was neither monitored nor scored, MlflowUnavailable, OSError.
    """
    progress("gather")
    html = render(month_report(platform, as_of))
    file = make_folder(platform.settings.home / "reports") / (
        f"{platform.use_case.name}-{as_of}.html"
    )
    changed = _write(html, file)
    if output is not None:
        changed = _write(html, output) or changed
    scoring = newest_scoring(platform, as_of)
    if scoring is not None:
        progress("keep in MLflow")
        changed = keep_file(platform.mlflow_uri, scoring.run_id, file, FOLDER) or changed
    return Reported(as_of, output or file, scoring.run_id if scoring is not None else None, changed)


def _write(html: str, file: Path) -> bool:
    """Write the whole file or nothing; returns whether it wasn't there with this content."""
    content = html.encode()
    if file.is_file() and file.read_bytes() == content:
        return False
    with replacement(file) as partial:
        partial.write_bytes(content)
    return True
