"""The command `report`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from streamflow.cli.terminal import Json, open_platform, print_result, show_progress
from streamflow.cli.times import AsOf

app = typer.Typer()


@app.command(epilog="Example: streamflow report --as-of 2024-03-31 --output march.html")
def report(
    as_of: AsOf,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Default: below `reports` in STREAMFLOW_HOME."),
    ] = None,
    json: Json = False,
) -> None:
    """Write what is known of a month as one HTML file, and keep a copy in MLflow."""
    from streamflow.pipeline.month import report as step_report
    from streamflow.private_files import users_umask

    with open_platform() as platform, show_progress(json, "report") as progress, users_umask():
        done = step_report.report(platform, as_of.date(), output, progress)
    print_result(asdict(done), json, lambda: print(done.file))
