"""The commands `check`, `generate`, `apply`, `materialize` and `feast-config`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamflow.cli.promotion.check import check_version
from streamflow.cli.terminal import (
    Json,
    open_platform,
    print_result,
    print_table,
    show_progress,
)
from streamflow.cli.times import parse_day

if TYPE_CHECKING:
    from streamflow.features.definitions import ViewChange
    from streamflow.features.kept.pruning import Pruned
    from streamflow.pipeline.apply import ConcernedVersion, Plan

app = typer.Typer()


@app.command(epilog="Example: streamflow check · streamflow check 3")
def check(
    version: Annotated[
        int | None,
        typer.Argument(metavar="[VERSION]", help="A version's gates, and nothing is promoted."),
    ] = None,
    json: Json = False,
) -> None:
    """Tell all that is wrong with the use case, with the line to write instead; or evaluate the
    gates of a VERSION as `promote` does: exit code 3 if one would stop it."""
    if version is not None:
        check_version(version, json)
        return
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


@app.command(epilog="Example: streamflow generate data --users 7043 --months 2 --seed 42")
def generate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", file_okay=False, help="Where the month folders go.")
    ],
    users: Annotated[int, typer.Option(min=1, help="Entities in each month.")] = 7043,
    months: Annotated[int, typer.Option(min=1, help="Folders month_000, month_001, …")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 42,
    drift: Annotated[float, typer.Option(min=0, help="0 keeps months alike, 1 moves them.")] = 0.0,
    rule_drift: Annotated[
        float, typer.Option(min=0, help="1 changes in a year what leads to the label.")
    ] = 0.0,
    json: Json = False,
) -> None:
    """Make synthetic months of the use case's tables."""
    from streamflow.errors import InvalidSettings
    from streamflow.private_files import users_umask
    from streamflow.settings import load_settings
    from streamflow.use_case import Generation
    from streamflow.use_case.module import load_use_case

    use_case = load_use_case(load_settings().use_case)
    if use_case.generate is None:
        raise InvalidSettings(
            f"The use case {use_case.name!r} has no generator.", "Ingest your own files instead."
        )
    files: list[str] = []
    with show_progress(json, "generate") as progress, users_umask():

        def record(file: str) -> None:
            files.append(file)
            progress(file)

        use_case.generate(Generation(folder, users, months, seed, drift, record, rule_drift))
    result = {"folder": str(folder), "users": users, "months": months, "seed": seed, "files": files}
    print_result(result, json, lambda: print(f"{users:,} users x {months} months in {folder}"))


@app.command(epilog="Example: streamflow apply --plan")
def apply(
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would change, and change nothing.")
    ] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Then remove what was kept and no version needs any more."),
    ] = False,
    json: Json = False,
) -> None:
    """Bring Feast's registry and online store to the use case's definitions.

    What the version in Production or Staging needs stays, and what a rollback would bring back.
    """
    from streamflow.pipeline import apply as step_apply

    with open_platform() as platform, show_progress(json, "apply"):
        done = step_apply.plan(platform) if plan else step_apply.apply(platform)
        gone = done.pruned if plan else []
        if prune and not plan:
            gone = step_apply.prune(platform)
    document = {**_apply_document(done), "pruned": [asdict(one) for one in gone]}

    def print_text() -> None:
        _print_apply(done)
        for one in gone:
            what = "is" if not plan else "would be" if prune else "could be"
            print(f"{_pruned(one)} {what} removed{'' if prune else ' by --prune'}.")
        if plan:
            print("Nothing is changed.")

    print_result(document, json, print_text)


@app.command(epilog="Example: streamflow materialize --as-of 2024-01-31")
def materialize(
    as_of: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_day,
            metavar="YYYY-MM-DD",
            help="Up to the end of this day; default: newest.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Bring each entity's newest features into the online store."""
    from streamflow.pipeline import materialize as step_materialize

    with open_platform() as platform, show_progress(json, "materialize") as progress:
        day = as_of.date() if as_of else None
        done = step_materialize.materialize(platform, day, datetime.now(UTC), progress)
    result = {
        view.feature_view: {
            "rows": view.rows,
            "seconds": view.seconds,
            "as_of": view.as_of,
            "newest": view.newest,
        }
        for view in done
    }
    rows = [
        [view.feature_view, view.rows, f"{view.seconds:.2f}", str(view.newest)] for view in done
    ]

    def print_text() -> None:
        columns = ["feature view", "rows", "seconds", "newest online"]
        print_table(f"materialized up to {done[0].as_of}", columns, rows)
        newest = max(view.newest for view in done)
        if newest > done[0].as_of:
            print(
                f"{newest} stays online: an older row never replaces a newer one. Only entities "
                f"without a newer row have their features of {done[0].as_of} or before."
            )

    print_result(result, json, print_text)


@app.command("feast-config", epilog="Example: streamflow feast-config && feast -c . ui")
def feast_config(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", file_okay=False, help="Where the file goes.")
    ] = Path("."),
    json: Json = False,
) -> None:
    """Write feature_store.yaml, with which Feast's own CLI and UI work (it holds the password)."""
    from streamflow.pipeline import apply as step_apply

    with open_platform() as platform:
        file = step_apply.write_feast_config(platform, folder)
    print_result({"file": str(file)}, json, lambda: print(file))


def _apply_document(done: Plan) -> dict[str, Any]:
    return {
        "history": asdict(done.history),
        "feature_views": {
            one.feature_view: {
                "change": one.change,
                "table": one.table,
                "added": one.added,
                "dropped": one.dropped,
                "retyped": one.retyped,
                "versions": one.versions,
            }
            for one in done.registry.feature_views
        },
        "feature_services": done.registry.feature_services,
        "entities": done.registry.entities,
        "versions": [asdict(one) for one in done.versions],
    }


def _pruned(one: Pruned) -> str:
    if one.whole:
        return f"Feature view {one.feature_view} with the table {one.table}"
    return f"Of feature view {one.feature_view}: {', '.join(one.features)}"


def _print_apply(done: Plan) -> None:
    views = [
        [one.feature_view, one.change, one.table, _difference(one)]
        for one in done.registry.feature_views
    ]
    services = [[name, change, "", ""] for name, change in done.registry.feature_services.items()]
    for table in done.history.new_tables:
        print(f"table {table!r} is new in history.")
    for change in done.history.changes:
        print(f"{change.history}: {change}.")
    if done.history.aggregated_later:
        made = ", ".join(done.history.aggregated_later)
        print(f"{made}: made for all months by the next `streamflow ingest`, of any month again.")
    if done.history.not_recorded:
        stays = ", ".join(done.history.not_recorded)
        print(f"No file has {stays} any more; what is known of it stays.")
    print_table("definitions", ["name", "", "table online", "features"], [*views, *services])
    for version in done.versions:
        if said := _meaning(version):
            print(said)
    if any(one.added or one.retyped for one in done.registry.feature_views):
        print("New features are online after `streamflow materialize`.")


def _difference(one: ViewChange) -> str:
    if one.change == "added":
        return f"{len(one.added)} feature{'s' * (len(one.added) != 1)}"
    return ", ".join(
        [
            *(f"+ {name} {kind}" for name, kind in one.added.items()),
            *(f"- {name} {kind}" for name, kind in one.dropped.items()),
            *(f"{name} {old} -> {new}" for name, (old, new) in one.retyped.items()),
            *(f"for version {number}" for number in one.versions),
        ]
    )


def _meaning(version: ConcernedVersion) -> str | None:
    named = f"Version {version.version} ({version.stage})"
    if version.lacks:
        return f"{named} can't be served any more: {', '.join(version.lacks)} goes."
    if version.reads:
        return f"{named} goes on with {', '.join(version.reads)}, as it was."
    return None
