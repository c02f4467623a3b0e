"""The commands `generate`, `ingest`, `apply`, `materialize` and `feast-config`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from streamflow.cli.terminal import (
    Json,
    open_platform,
    operator,
    print_result,
    print_table,
    show_progress,
)
from streamflow.cli.times import AsOf, parse_day, parse_time

app = typer.Typer()

# What becomes of entities without a row in a table, by its rule in the use case.
_WITHOUT_ROW = {
    "refuse": 'by absent="refuse" they are neither trained on nor predicted for',
    "null": 'by absent="null" their features are null',
}


@app.command(epilog="Example: streamflow generate data --users 7043 --months 2 --seed 42")
def generate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", file_okay=False, help="Where the month folders go.")
    ],
    users: Annotated[int, typer.Option(min=1, help="Entities in each month.")] = 7043,
    months: Annotated[int, typer.Option(min=1, help="Folders month_000, month_001, …")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 42,
    drift: Annotated[float, typer.Option(min=0, help="0 keeps months alike, 1 moves them.")] = 0.0,
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

        use_case.generate(Generation(folder, users, months, seed, drift, record))
    result = {"folder": str(folder), "users": users, "months": months, "seed": seed, "files": files}
    print_result(result, json, lambda: print(f"{users:,} users x {months} months in {folder}"))


@app.command(epilog="Example: streamflow ingest data/month_000 --as-of 2024-01-31")
def ingest(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="One file per table.")],
    as_of: AsOf,
    recorded_at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="When the files arrived (ISO, UTC), for archives; default: now."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check a month's files and add what is new to history; all tables or none."""
    from streamflow.pipeline import ingest as step_ingest

    recorded = parse_time(recorded_at)
    with open_platform() as platform, show_progress(json, "ingest") as progress:
        done = step_ingest.ingest(
            platform, folder, as_of.date(), recorded, datetime.now(UTC), operator(), progress
        )
        rules = {table.name: _WITHOUT_ROW[table.absent] for table in platform.use_case.tables()}
        rules[platform.use_case.label.table] = "without a label, they aren't trained on"
    rows = [[name, one.rows, one.added, one.unchanged] for name, one in done.tables.items()]

    def print_text() -> None:
        print_table(f"AS_OF {done.as_of}", ["table", "rows", "added", "unchanged"], rows)
        if not any(table.added for table in done.tables.values()):
            print("Nothing is new: all of it was known before.")
        for name, one in done.tables.items():
            for change in one.changes:
                print(f"{name}: {change}.")
            if one.null_labels:
                print(f"{name}: {one.null_labels:,} labels are null: not known, never learnt from.")
            if one.without_row:
                print(f"{name}: {one.without_row:,} entities have no row: {rules[name]}.")

    result = {name: asdict(table) for name, table in done.tables.items()}
    print_result(result, json, print_text)


@app.command(epilog="Example: streamflow apply")
def apply(json: Json = False) -> None:
    """Bring Feast's registry and online store to the use case's definitions."""
    from streamflow.pipeline import apply as step_apply

    with open_platform() as platform, show_progress(json, "apply"):
        done = step_apply.apply(platform)

    def print_text() -> None:
        print(f"feature views: {', '.join(done.feature_views)}")
        print(f"feature services: {', '.join(done.feature_services)}")
        if done.removed:
            print(f"removed: {', '.join(done.removed)}")

    print_result(asdict(done), json, print_text)


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
