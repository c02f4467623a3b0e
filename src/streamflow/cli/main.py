"""The command line: one command per step of the pipeline. Exit codes are decided here.

0 done · 1 an error that says what to do · 2 wrong usage · 130 interrupted. Everything that takes
time to import waits for the command that needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from streamflow import log
from streamflow.cli import backup, explain, keys, lineage, migrate, models, predict, servers
from streamflow.cli.terminal import Json, opened, operator, progress, show, table, tell_error
from streamflow.errors import StreamFlowError

app = typer.Typer(
    name="streamflow",
    help="Monthly tables in, a served prediction out that can be traced, trusted and re-created.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(models.app)
app.add_typer(lineage.app)
app.add_typer(servers.app)
app.add_typer(predict.app)
app.add_typer(explain.app)
app.add_typer(keys.app)
app.add_typer(migrate.app)
app.add_typer(backup.app)

AsOf = Annotated[
    datetime,
    typer.Option("--as-of", formats=["%Y-%m-%d"], help="The day that the data speaks of (UTC)."),
]


def main() -> None:
    """Run the command line; with `--json`, errors too are JSON on standard output."""
    as_json = "--json" in sys.argv[1:]
    if not sys.warnoptions:
        warnings.simplefilter(
            "ignore"
        )  # libraries' warnings are for developers: `python -W default`
    log.write_plain_to(sys.stderr)
    try:
        code = app(prog_name="streamflow", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except StreamFlowError as error:
        tell_error(error.code, error.message, error.next, as_json)
        sys.exit(1)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "streamflow"
        tell_error("usage", error.format_message(), f"See `{command} --help`.", as_json)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)


def _now() -> datetime:
    return datetime.now(UTC)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} isn't a time such as 2024-02-03T08:00:00Z.") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@app.command(epilog="Example: streamflow generate data --users 7043 --months 2 --seed 42")
def generate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the month folders go.")],
    users: Annotated[int, typer.Option(help="Entities in each month.")] = 7043,
    months: Annotated[int, typer.Option(help="Folders month_000, month_001, …")] = 2,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 42,
    drift: Annotated[float, typer.Option(help="0 keeps months alike, 1 moves them.")] = 0.0,
    json: Json = False,
) -> None:
    """Make synthetic months of the use case's tables."""
    from streamflow.errors import InvalidSettings
    from streamflow.settings import load_settings
    from streamflow.use_case import Generation, load_use_case

    use_case = load_use_case(load_settings().use_case)
    if use_case.generate is None:
        raise InvalidSettings(
            f"The use case {use_case.name!r} has no generator.", "Ingest your own files instead."
        )
    files: list[str] = []
    with progress(json, "generate") as step:

        def written(file: str) -> None:
            files.append(file)
            step(file)

        use_case.generate(Generation(folder, users, months, seed, drift, written))
    answer = {"folder": str(folder), "users": users, "months": months, "seed": seed, "files": files}
    show(answer, json, lambda: print(f"{users:,} users x {months} months in {folder}"))


@app.command(epilog="Example: streamflow ingest data/month_000 --as-of 2024-01-31")
def ingest(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="One file per table.")],
    as_of: AsOf,
    recorded_at: Annotated[
        str | None,
        typer.Option(help="When the files arrived (ISO, UTC), for archives; default: now."),
    ] = None,
    json: Json = False,
) -> None:
    """Check a month's files and add what is new to history; all tables or none."""
    from streamflow.pipeline import steps

    moment = _moment(recorded_at)
    with opened() as platform, progress(json, "ingest") as step:
        done = steps.ingest(platform, folder, as_of.date(), moment, _now(), operator(), step)
    rows = [[name, table.rows, table.added, table.unchanged] for name, table in done.tables.items()]

    def lines() -> None:
        table(f"AS_OF {done.as_of}", ["table", "rows", "added", "unchanged"], rows)
        if not any(table.added for table in done.tables.values()):
            print("Nothing is new: all of it was known before.")

    show({name: asdict(table) for name, table in done.tables.items()}, json, lines)


@app.command(epilog="Example: streamflow apply")
def apply(json: Json = False) -> None:
    """Bring Feast's registry and online store to the use case's definitions."""
    from streamflow.pipeline import steps

    with opened() as platform, progress(json, "apply"):
        done = steps.apply(platform)

    def lines() -> None:
        print(f"feature views: {', '.join(done.feature_views)}")
        print(f"feature services: {', '.join(done.feature_services)}")
        if done.removed:
            print(f"removed: {', '.join(done.removed)}")

    show(asdict(done), json, lines)


@app.command(epilog="Example: streamflow materialize --as-of 2024-01-31")
def materialize(
    as_of: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Up to the end of this day; default: newest."),
    ] = None,
    json: Json = False,
) -> None:
    """Bring each entity's newest features into the online store."""
    from streamflow.pipeline import steps

    with opened() as platform, progress(json, "materialize") as step:
        done = steps.materialize(platform, as_of.date() if as_of else None, _now(), step)
    answer = {one.feature_view: {"rows": one.rows, "seconds": one.seconds} for one in done}
    rows = [[one.feature_view, one.rows, f"{one.seconds:.2f}"] for one in done]
    show(answer, json, lambda: table("online", ["feature view", "rows", "seconds"], rows))


@app.command(epilog="Example: streamflow train --as-of 2024-01-31 --model logistic_regression")
def train(
    as_of: AsOf,
    model: Annotated[str | None, typer.Option(help="By name; default: the use case's.")] = None,
    random_state: Annotated[int, typer.Option(help="Decides split and fit.")] = 42,
    known_at: Annotated[
        str | None,
        typer.Option(
            help="See only what was recorded by then (ISO; UTC if it names no zone); default: now."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Train at a fixed AS_OF, prove the served form, register a version."""
    from streamflow.pipeline import train as training_run

    moment = _moment(known_at)
    with opened() as platform, progress(json, "train") as step:
        done = training_run.train(
            platform, as_of.date(), model, random_state, _now(), step, known_at=moment
        )

    def lines() -> None:
        metrics = done.metrics
        rows = [
            ["version", f"{done.version} (run {done.run_id})"],
            ["rows", f"{done.rows:,}, categorical: {', '.join(done.categorical) or 'none'}"],
            [
                "AUC",
                f"{metrics['auc']:.4f} ({metrics['auc_low']:.4f} to {metrics['auc_high']:.4f})",
            ],
            ["F1, accuracy", f"{metrics['f1']:.4f}, {metrics['accuracy']:.4f}"],
            ["served form", f"equal, largest difference {done.largest_difference:.1e}"],
            ["data hash", done.data_hash],
            ["model hash", done.model_hash],
        ]
        table(f"{done.model} as of {done.as_of}, known at {done.known_at}", ["", ""], rows)
        if done.without_label or done.without_features:
            print(
                f"Left out: {done.without_label:,} without a label, "
                f"{done.without_features:,} without all features."
            )
        print(f'Next: streamflow promote {done.version} --to production --why "…"')

    show(asdict(done), json, lines)


@app.command("feast-config", epilog="Example: streamflow feast-config && feast -c . ui")
def feast_config(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the file goes.")] = Path("."),
    json: Json = False,
) -> None:
    """Write feature_store.yaml, with which Feast's own CLI and UI work (it holds the password)."""
    from streamflow.pipeline import steps

    with opened() as platform:
        file = steps.write_feast_config(platform, folder)
    show({"file": str(file)}, json, lambda: print(file))
