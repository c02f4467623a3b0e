"""The commands that prove where a model comes from: `reproduce` and `diff`.

`reproduce` ends with 0 if the run comes out identical, 1 if it's different, 2 if nobody can tell.
"""

from __future__ import annotations

import traceback
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamflow.cli.terminal import Json, opened, progress, show, table, tell_error
from streamflow.errors import (
    EnvironmentNotRestored,
    NoLineage,
    StreamFlowError,
    UnknownVersion,
)

if TYPE_CHECKING:
    from streamflow.platform import Platform
    from streamflow.progress import Progress

app = typer.Typer()

EXIT_CODES = {"identical": 0, "different": 1, "can't tell": 2}
SHOWN = 10


@app.command(epilog="Example: streamflow reproduce --version 3")
def reproduce(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="See `streamflow runs`.")
    ] = None,
    version: Annotated[int | None, typer.Option(help="The run of this version.")] = None,
    all_versions: Annotated[bool, typer.Option("--all", help="Every version.")] = False,
    in_recorded_environment: Annotated[
        bool,
        typer.Option(
            "--in-recorded-environment",
            help="In a checkout of the recorded commit, with the recorded lock installed.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Make a run again, compare factor by factor, and write the verdict into its tags."""
    if [run is not None, version is not None, all_versions].count(True) != 1:
        raise typer.BadParameter("Name one RUN, or a --version, or --all.")
    try:
        with opened() as platform, progress(json, "reproduce") as step:
            named = run if version is None else str(version)
            answers = _reproduced(platform, named, in_recorded_environment, step)
    except StreamFlowError as error:  # not 1: that a run is different hasn't been seen
        tell_error(error.code, error.message, error.next, json)
        raise typer.Exit(2) from error
    except Exception as error:
        traceback.print_exc()
        raise typer.Exit(2) from error

    def lines() -> None:
        for number, answer in enumerate(answers):
            print("\n" * (number > 0), end="")
            _tell(answer)

    show(answers if all_versions else answers[0], json, lines)
    verdicts = {answer["verdict"] for answer in answers}
    raise typer.Exit(
        next((EXIT_CODES[one] for one in ("different", "can't tell") if one in verdicts), 0)
    )


def _reproduced(
    platform: Platform, named: str | None, in_recorded_environment: bool, step: Progress
) -> list[dict[str, Any]]:
    """An answer per run; of every version if none is named."""
    from streamflow.lineage import recorded_environment, recorded_run
    from streamflow.lineage import reproduce as reproduction

    registry = platform.registry
    if named is not None:
        runs = [recorded_run.find(registry, named)]
    else:
        runs = [registry.run(one.run_id) for one in registry.versions()]
    if not runs:
        raise UnknownVersion(f"{registry.model!r} has no version yet.", "Run `streamflow train`.")
    answers = []
    for run in runs:
        now = datetime.now(UTC)
        try:
            if in_recorded_environment:
                answers.append(recorded_environment.reproduce(platform, run, step))
            else:
                answers.append(asdict(reproduction.reproduce(platform, run, now, step)))
        except (NoLineage, EnvironmentNotRestored) as error:
            answers.append(asdict(reproduction.cant_tell(platform, run, now, error)))
    return answers


@app.command(epilog="Example: streamflow diff 1 2")
def diff(
    before: Annotated[str, typer.Argument(metavar="RUN_A", help="A run, or a version's number.")],
    after: Annotated[str, typer.Argument(metavar="RUN_B", help="Another.")],
    json: Json = False,
) -> None:
    """What two runs differ by: factors, metrics, validation predictions."""
    from streamflow.lineage import diff as run_difference

    with opened() as platform, progress(json, "diff") as step:
        done = run_difference.diff(platform, before, after, step)

    def lines() -> None:
        answer = asdict(done)
        _tell_factors(f"run {done.before} → {done.after}", answer)
        metrics = [
            [name, *("" if value is None else f"{value:.6g}" for value in both)]
            for name, both in done.metrics.items()
        ]
        print()
        table("metrics", ["", "before", "after"], metrics)
        if done.judged is not None:
            print(f"\n{done.flipped:,} of {done.judged:,} validation predictions change side.")

    show(asdict(done), json, lines)


def _tell(answer: dict[str, Any]) -> None:
    version = f", version {answer['version']}" if answer["version"] else ""
    title = f"run {answer['run_id']}{version}"
    if answer["factors"]:
        _tell_factors(title, answer)
    else:
        print(title)
    if answer["restored"]:
        print()
        table(
            "one factor restored at a time",
            ["with the recorded", ""],
            [[one["factor"], one["said"]] for one in answer["restored"]],
        )
    print(f"\n{answer['verdict']}: {answer['why'].rstrip('.')}.")
    if answer["next"]:
        print(f"next: {answer['next']}")


def _tell_factors(title: str, answer: dict[str, Any]) -> None:
    rows = [
        [one["name"], "✓" if one["same"] else "✗", "\n".join(one["said"])]
        for one in answer["factors"]
    ]
    table(title, ["factor", "", ""], rows)
    changes = answer["changes"]
    if changes:
        print()
        table(
            "changed values",
            ["entity", "column", "before", "after"],
            [[str(value) for value in one.values()] for one in changes[:SHOWN]],
        )
        if len(changes) > SHOWN:
            print(f"and {len(changes) - SHOWN:,} more; --json names them.")
