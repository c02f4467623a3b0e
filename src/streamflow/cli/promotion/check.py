"""The gates of a version, without promoting it: `check VERSION`."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from streamflow.cli.promotion.gates import print_gates
from streamflow.cli.terminal import open_platform, print_result, show_progress


def check_version(version: int, json: bool) -> None:
    """Evaluate the gates and print what they say. Raises typer.Exit with 3 if one would stop it."""
    from streamflow.promotion import check_version as checking

    with open_platform() as platform, show_progress(json, "check") as progress:
        report = checking.check_version(platform, version, None, datetime.now(UTC), progress)
    result = report.as_dict()

    def print_text() -> None:
        print_gates(result)
        if report.passed:
            print(f'Next: streamflow promote {version} --to production --why "…"')

    print_result(result, json, print_text)
    raise typer.Exit(0 if report.passed else 3)
