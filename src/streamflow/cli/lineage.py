"""The commands `reproduce` and `diff`, which prove what a model was made from.

Exit codes of `reproduce`: 0 identical, 1 different, 2 can't tell, 3 rows were forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamflow.cli.failure import errors_exit_with
from streamflow.cli.terminal import (
    Json,
    open_platform,
    print_result,
    print_table,
    show_progress,
)
from streamflow.errors import EnvironmentNotRestored, NoLineage, UnknownVersion

if TYPE_CHECKING:
    from streamflow.lineage.diff import RunDifference
    from streamflow.platform import Platform
    from streamflow.progress import Progress
    from streamflow.registry.records import Run

app = typer.Typer()

# A reproduction or a difference as JSON; a child process may have printed it.
Document = dict[str, Any]

EXIT_CODES = {"identical": 0, "different": 1, "can't tell": 2, "forgotten": 3}
CHANGES_SHOWN = 10


@app.command(epilog="Example: streamflow reproduce --version 3")
def reproduce(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="See `streamflow runs`.")] = None,
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
    with (
        errors_exit_with(EXIT_CODES["can't tell"], json),
        open_platform() as platform,
        show_progress(json, "reproduce") as progress,
    ):
        wanted = run if version is None else str(version)
        results = _reproduce(platform, wanted, in_recorded_environment, progress)

    def print_text() -> None:
        for number, result in enumerate(results):
            print("\n" * (number > 0), end="")
            _print_reproduction(result)

    print_result(results if all_versions else results[0], json, print_text)
    verdicts = {result["verdict"] for result in results}
    worst_first = ("different", "can't tell", "forgotten")
    raise typer.Exit(next((EXIT_CODES[each] for each in worst_first if each in verdicts), 0))


def _reproduce(
    platform: Platform, wanted: str | None, in_recorded_environment: bool, progress: Progress
) -> list[Document]:
    """One result for the run or version `wanted`; without it, one for each version."""
    from streamflow.lineage import recorded_environment, recorded_run
    from streamflow.lineage import reproduce as reproduction

    registry = platform.registry

    def one(run: Run) -> Document:
        now = datetime.now(UTC)
        try:
            if in_recorded_environment:
                return recorded_environment.reproduce(platform, run, progress)
            return asdict(reproduction.reproduce(platform, run, now, progress))
        except (NoLineage, EnvironmentNotRestored) as error:
            return asdict(reproduction.cant_tell(platform, run, now, error))

    if wanted is not None:
        return [one(recorded_run.find(registry, wanted))]
    results = []
    for version in registry.versions():
        try:
            results.append(one(registry.run(version.run_id)))
        except Exception as error:  # it costs the other versions nothing
            now = datetime.now(UTC)
            failed = reproduction.no_verdict(version.run_id, version.version, now, error)
            results.append(asdict(failed))
    if not results:
        raise UnknownVersion(f"{registry.model!r} has no version yet.", "Run `streamflow train`.")
    return results


@app.command(epilog="Example: streamflow diff 1 2")
def diff(
    before: Annotated[str, typer.Argument(metavar="RUN_A", help="A run, or a version's number.")],
    after: Annotated[str, typer.Argument(metavar="RUN_B", help="Another.")],
    json: Json = False,
) -> None:
    """What two runs differ by: factors, metrics, validation predictions."""
    from streamflow.lineage import diff as run_difference

    with open_platform() as platform, show_progress(json, "diff") as progress:
        done = run_difference.diff(platform, before, after, progress)

    def print_text() -> None:
        _print_factors(f"run {done.before} → {done.after}", asdict(done))
        metrics = [
            [name, *("" if value is None else f"{value:.6g}" for value in both)]
            for name, both in done.metrics.items()
        ]
        print()
        print_table("metrics", ["", "before", "after"], metrics)
        for which, sentence in zip(("before", "after"), done.judged_on, strict=True):
            print(f"{which}: {sentence}")
        _print_comparison(done)
        if done.judged is not None:
            print(f"\n{done.flipped:,} of {done.judged:,} validation predictions change side.")

    print_result(asdict(done), json, print_text)


def _print_comparison(done: RunDifference) -> None:
    """Whether the figures above may be compared, and those that may be."""
    from streamflow.training import evaluation

    if not done.same_rows:
        known = "" if done.same_rows is False else ", as far as is known"
        print(
            f"These figures are of different rows{known}: they don't say which of the two is "
            "better. `streamflow evaluate VERSION --as-of DATE` of both does."
        )
    for pair in done.evaluated:
        figures = [one.figures for one in pair]
        rows: list[Sequence[object]] = [
            ["auc", *map(evaluation.auc_in_words, figures)],
            *(
                [name, *(f"{each[name]:.6g}" for each in figures)]
                for name in pair[0].figures
                if not name.startswith("auc") and name in pair[1].figures
            ),
            [
                "rows trained on",
                *("?" if one.trained_on is None else one.trained_on for one in pair),
            ],
        ]
        title = f"evaluated on {pair[0].as_of}: the same {pair[0].rows:,} rows"
        print()
        print_table(title, ["", "before", "after"], rows)
    for as_of in done.evaluated_apart:
        print(f"On {as_of} the two were evaluated on different rows: that isn't compared.")


def _print_reproduction(result: Document) -> None:
    version = f", version {result['version']}" if result["version"] else ""
    title = f"run {result['run_id']}{version}"
    if result["factors"]:
        _print_factors(title, result)
    else:
        print(title)
    if result["restored"]:
        print()
        print_table(
            "one factor restored at a time",
            ["with the recorded", ""],
            [[one["factor"], one["said"]] for one in result["restored"]],
        )
    if result.get("source_changes"):
        print("\nchanged source")
        print("\n".join(result["source_changes"]))
    print(f"\n{result['verdict']}: {result['why'].rstrip('.')}.")
    if result["next"]:
        print(f"next: {result['next']}")


def _print_factors(title: str, result: Document) -> None:
    rows = [
        [one["name"], "✓" if one["same"] else "✗", "\n".join(one["said"])]
        for one in result["factors"]
    ]
    print_table(title, ["factor", "", ""], rows)
    changes = result["changes"]
    if changes:
        print()
        print_table(
            "changed values",
            ["entity", "column", "before", "after"],
            [[str(value) for value in one.values()] for one in changes[:CHANGES_SHOWN]],
        )
        if len(changes) > CHANGES_SHOWN:
            print(f"and {len(changes) - CHANGES_SHOWN:,} more; --json names them.")
