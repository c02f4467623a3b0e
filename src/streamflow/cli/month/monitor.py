"""The command `monitor`: what has moved. Exit code 4 if an alarm was raised."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.terminal import Json, open_platform, print_result, print_table, show_progress
from streamflow.cli.times import AsOf, KnownAt, parse_time

if TYPE_CHECKING:
    from streamflow.monitoring.alarm import Figure
    from streamflow.pipeline.month.monitor import MonitorResult

app = typer.Typer()

ALARMS_RAISED = 4


@app.command(epilog="Example: streamflow monitor --as-of 2024-03-31")
def monitor(
    as_of: AsOf,
    known_at: KnownAt = None,
    version: Annotated[
        int | None, typer.Option(help="See `streamflow models`; default: the one in Production.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare a month with the months that a version learned from and with the month before, and
    say what has moved. Exit code 4 if an alarm was raised."""
    from streamflow.pipeline.month import monitor as step_monitor

    known = parse_time(known_at)
    with open_platform() as platform, show_progress(json, "monitor") as progress:
        done = step_monitor.monitor(
            platform, as_of.date(), datetime.now(UTC), progress, known, version
        )
    print_result({**asdict(done.monitored), "added": done.added}, json, lambda: _print(done))
    if done.monitored.alarms:
        raise typer.Exit(ALARMS_RAISED)


def _print(done: MonitorResult) -> None:
    made = done.monitored
    if not made.alarms:
        print(f"No alarm: {made.as_of} is like the months before.")
    for alarm in made.alarms:
        print(f"{alarm.severity}: {alarm.sentence}")
    features = [one for one in made.figures if one.subject == "feature" and "psi" in one.figures]
    if features:
        print_table(
            f"version {made.version} on {made.as_of}, {made.entities:,} entities",
            ["feature", "compared with", "PSI", "of it chance", "Jensen-Shannon", "missing"],
            [_row(one) for one in features],
        )
    for one in made.figures:
        if one.subject in ("quality", "estimate") and "auc" in one.figures:
            print(_quality(one))
        for doubt in one.figures.get("doubts", ()):
            print(f"  not to be believed: {doubt}")
    print(made.retraining.sentence)
    if not done.added:
        print(f"Monitored before, at {made.made_at:%Y-%m-%d %H:%M} UTC: nothing is added.")


def _row(one: Figure) -> list[str]:
    figures = one.figures
    return [
        one.what,
        one.compared_with,
        f"{figures['psi']:.4f}",
        f"{figures['psi_by_chance']:.4f}",
        f"{figures['jensen_shannon']:.4f}",
        f"{figures['missing']:.1%}",
    ]


def _quality(one: Figure) -> str:
    figures = one.figures
    word = "estimated" if one.subject == "estimate" else "came true"
    return (
        f"{figures['month']}, {one.what}: AUC {figures['auc']:.4f} ({figures['auc_low']:.4f} to "
        f"{figures['auc_high']:.4f}), {word}"
    )
