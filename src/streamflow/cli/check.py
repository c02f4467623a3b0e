"""The command `check`. Exit codes: 0 nothing is wrong, 1 something is."""

from __future__ import annotations

from dataclasses import asdict

import typer

from streamflow.cli.terminal import Json, print_result, show_progress

app = typer.Typer()


@app.command(epilog="Example: streamflow check")
def check(json: Json = False) -> None:
    """Tell all that is wrong with the use case, with the line to write instead."""
    from streamflow.pipeline import check as step_check
    from streamflow.settings import load_settings
    from streamflow.use_case.module import import_use_case

    settings = load_settings()
    use_case = import_use_case(settings.use_case)
    with show_progress(json, "check") as progress:
        found = step_check.check(use_case, settings.scratch, progress)

    def print_text() -> None:
        for finding in found:
            print(f"{finding.where}\n  {finding.what}\n  write: {finding.instead}\n")
        count = f"{len(found)} finding{'s' if len(found) > 1 else ''}"
        print(f"{settings.use_case}: {count if found else 'nothing is wrong'}")

    result = {"use_case": settings.use_case, "findings": [asdict(one) for one in found]}
    print_result(result, json, print_text)
    raise typer.Exit(1 if found else 0)
