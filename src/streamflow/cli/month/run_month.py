"""The command `run-month`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.terminal import Json, open_platform, operator, print_error, print_result
from streamflow.cli.times import AsOf
from streamflow.errors import StreamFlowError

if TYPE_CHECKING:
    from streamflow.pipeline.month.document import MonthDocument
    from streamflow.pipeline.month.step import Step

app = typer.Typer()

FAILED = 1
# By the status of a month that was done to its end.
EXIT_CODES = {"done": 0, "refused": 3, "alarms": 4}


class Policy(StrEnum):
    """When a challenger that passed its gates goes to Production, as it is typed."""

    NEVER = "never"
    IF_BETTER = "if-better"
    ALWAYS_IF_PASSED = "always-if-passed"


@app.command(
    name="run-month", epilog="Example: streamflow run-month data/month_002 --as-of 2024-03-31"
)
def run_month(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="One file per table.")],
    as_of: AsOf,
    promote: Annotated[
        Policy, typer.Option(help="When a challenger that passed its gates goes to Production.")
    ] = Policy.IF_BETTER,
    skip_code: Annotated[
        int | None,
        typer.Option(
            min=5,
            max=125,
            metavar="CODE",
            help="The exit code if the month's files aren't there yet, for schedulers; default: 1.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """From a month's files to scores, alarms and a report; each step skips what is done.

    After a failure or a kill, the same command goes on from there. Exit codes: 0 done, 1 failed, 2
    wrong usage, 3 done but for the gates, which kept the challenger from Production, 4 done, with
    alarms.
    """
    from streamflow.history.files.month_folder import NotArrived
    from streamflow.pipeline.month import document
    from streamflow.pipeline.month import run_month as whole

    steps: list[Step] = []
    model, day = "", as_of.date()
    try:
        with open_platform() as platform:
            model = platform.registry.model
            month = whole.run_month(
                *(platform, folder, day, promote.value, operator(), datetime.now(UTC)),
                ended=_printing(json, steps),
            )
    except StreamFlowError as error:
        if not model:
            raise
        waits = isinstance(error, NotArrived) and skip_code is not None
        code = skip_code if waits and skip_code is not None else FAILED
        status: document.Status = "waiting" if waits else "failed"
        told = document.of_error(error, status, code, model, day, steps)
    else:
        told = document.of_month(month, EXIT_CODES)
    print_result(document.as_dict(told), json, lambda: _print_month(told))
    if told.exit_code:
        raise typer.Exit(told.exit_code)


def _printing(as_json: bool, steps: list[Step]) -> Callable[[Step], None]:
    """Adds each step to `steps` as it ends, and prints a line for it: beside JSON on standard
    error."""
    started, stream = time.monotonic(), sys.stderr if as_json else sys.stdout

    def ended(step: Step) -> None:
        steps.append(step)
        before = "" if step.changed or step.outcome != "done" else " (it was before)"
        outcome = "" if step.outcome == "done" else f"{step.outcome}: "
        seconds = time.monotonic() - started
        line = f"{seconds:7.1f} s  {step.step:<11}  {outcome}{step.sentence}{before}"
        print(line, file=stream, flush=True)

    return ended


def _print_month(told: MonthDocument) -> None:
    if told.error is not None and told.status == "failed":
        print_error(told.error, told.message or "", told.next or "", False)
        return
    if told.status == "waiting":
        print(f"The files of {told.as_of} aren't there yet: {told.message}")
        return
    if not told.changed:
        print(f"Nothing was left to do: the month {told.as_of} had been done before.")
    serves = f"Version {told.version} serves." if told.version else "No version serves."
    print(f"{serves} {_counted(len(told.alarms))}")
    for alarm in told.alarms:
        print(f"  {alarm.severity}: {alarm.sentence}")
    if told.report:
        print(f"Report: {told.report}")


def _counted(alarms: int) -> str:
    if not alarms:
        return "No alarm was raised."
    return f"{alarms} alarm was raised:" if alarms == 1 else f"{alarms} alarms were raised:"
