"""The commands `train` and `training-set`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.predict import require_output
from streamflow.cli.terminal import (
    Json,
    open_platform,
    operator,
    print_result,
    print_table,
    show_progress,
)
from streamflow.cli.times import AsOf, KnownAt, parse_day, parse_time

if TYPE_CHECKING:
    from streamflow.training.calibrated.figures import CalibrationFigures
    from streamflow.training.search.search import Searched

app = typer.Typer()


class Validation(StrEnum):
    """How a model is judged, as it is typed."""

    OUT_OF_TIME = "out-of-time"
    ENTITIES = "entities"
    RANDOM = "random"


class Calibrate(StrEnum):
    """How probabilities are corrected, as it is typed."""

    SIGMOID = "sigmoid"
    ISOTONIC = "isotonic"


@app.command(epilog="Example: streamflow train --as-of 2024-06-30 --months 6 --model lightgbm")
def train(
    as_of: AsOf,
    model: Annotated[str | None, typer.Option(help="By name; default: the use case's.")] = None,
    random_state: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Decides split and fit.")
    ] = 42,
    known_at: KnownAt = None,
    months: Annotated[
        int | None,
        typer.Option(min=1, help="Learn from so many months, up to AS_OF; default: that one."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            parser=parse_day,
            metavar="YYYY-MM-DD",
            help="Learn from all months from this day on, up to AS_OF.",
        ),
    ] = None,
    validation: Annotated[
        Validation | None,
        typer.Option(
            help="What judges the model: the newest months, held-out entities, or random rows. "
            "Default: the first of them that the months allow; one month allows random alone."
        ),
    ] = None,
    validation_months: Annotated[
        int | None,
        typer.Option(min=1, help="How many of the newest months judge it out of time: 1."),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option("--refit", help="Serve a model fitted to all rows; its twin is judged."),
    ] = False,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Learn from so many entities: those with the lowest hash of their id, which are "
            "the same in each month. Default: all.",
        ),
    ] = None,
    search: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Try N models and parameters of the use case's space; all models without --model.",
        ),
    ] = None,
    search_minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Begin no trial after so many minutes; the first is always made."),
    ] = None,
    calibrate: Annotated[
        Calibrate | None,
        typer.Option(help="Correct probabilities, on parts of the training rows."),
    ] = None,
    json: Json = False,
) -> None:
    """Train at a fixed AS_OF, prove the served form, register a version."""
    from streamflow.pipeline import train as step_train
    from streamflow.training.split import Choice

    known = parse_time(known_at)
    first = _first_day(months, since)
    if validation_months is not None and validation not in (None, Validation.OUT_OF_TIME):
        raise typer.BadParameter(f"--validation-months isn't for --validation {validation}.")
    if search_minutes is not None and search is None:
        raise typer.BadParameter("--search-minutes is for --search N.")
    choice = Choice(
        months,
        first,
        validation.value if validation else None,
        validation_months,
        refit,
        sample,
        search,
        search_minutes,
        calibrate.value if calibrate else None,
    )
    with open_platform() as platform, show_progress(json, "train") as progress:
        done = step_train.train(
            platform,
            as_of.date(),
            model,
            random_state,
            datetime.now(UTC),
            progress,
            known_at=known,
            choice=choice,
            who=operator(),
        )

    def print_text() -> None:
        from streamflow.training import evaluation

        metrics = done.metrics
        several = f" of {len(done.months)} months" if len(done.months) > 1 else ""
        if done.sample is not None:
            several += f" of a sample of {done.sample:,}"
        rows = [
            ["version", f"{done.version} (run {done.run_id})"],
            [
                "rows",
                f"{done.rows:,}{several}, categorical: {', '.join(done.categorical) or 'none'}",
            ],
            ["AUC", evaluation.auc_in_words(metrics)],
            *(
                [f"AUC {month}", evaluation.auc_in_words(figures)]
                for month, figures in done.by_month.items()
            ),
            ["F1, accuracy", f"{metrics['f1']:.4f}, {metrics['accuracy']:.4f}"],
            ["served form", f"equal, largest difference {done.largest_difference:.1e}"],
            ["data hash", done.data_hash],
            ["model hash", done.model_hash],
        ]
        print_table(f"{done.model} as of {done.as_of}, known at {done.known_at}", ["", ""], rows)
        print(
            f"Labels: {done.rows + done.without_features:,} have matured, "
            f"{done.without_label:,} are still to come."
        )
        if done.searched is not None:
            print(_found(done.searched))
        if done.calibrated is not None:
            print(_corrected(done.calibrated))
        print(done.judged_on)
        if done.gap_months:
            print(
                f"Left out between: {', '.join(map(str, done.gap_months))}, whose labels weren't "
                "known yet at the first month of validation."
            )
        if done.without_label or done.without_features:
            unknown = _unknown(done.null_labels, done.premature_labels)
            print(
                f"Left out: {done.without_label:,} without a label{unknown}, "
                f"{done.without_features:,} without all features."
            )
        for table, count in done.without_row.items():
            print(f"  {count:,} of them have no row in {table}.")
        for table, count in done.taken_as_null.items():
            print(f"{count:,} have no row in {table}: null in its features.")
        for warning in done.warnings:
            print(f"warning: {warning}")
        print(f'Next: streamflow promote {done.version} --to production --why "…"')

    print_result(asdict(done), json, print_text)


@app.command(epilog="Example: streamflow training-set --as-of 2024-01-31 --output rows.parquet")
def training_set(
    as_of: AsOf,
    output: Annotated[Path, typer.Option(help="NAME.csv or NAME.parquet, replaced if it exists.")],
    months: Annotated[
        int | None, typer.Option(min=1, help="So many months, up to AS_OF; default: that one.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            parser=parse_day,
            metavar="YYYY-MM-DD",
            help="All months from this day on, up to AS_OF.",
        ),
    ] = None,
    known_at: KnownAt = None,
    json: Json = False,
) -> None:
    """Write the rows that `train` would learn from, for whoever works elsewhere."""
    from streamflow.pipeline.tables import table_file
    from streamflow.pipeline.tables import training_set as step
    from streamflow.training import canonical

    known = parse_time(known_at)
    first = _first_day(months, since)
    require_output(output)
    with open_platform() as platform, show_progress(json, "training-set") as progress:
        now = datetime.now(UTC)
        made = step.training_set(
            *(platform, as_of.date(), now, progress), months=months, since=first, known_at=known
        )
    try:
        table_file.write(made.table, output)
    except OSError as error:
        raise typer.BadParameter(f"{output} can't be written: {error.strerror}.") from error
    result = {
        "output": str(output),
        "rows": made.table.num_rows,
        "columns": made.table.column_names,
        "months": made.training_set.months,
        "known_at": made.training_set.known_at,
        "data_hash": canonical.hashes(made.table)[0],
        "without_label": made.without_label,
        "without_features": made.without_features,
    }

    def print_text() -> None:
        print(f"{made.table.num_rows:,} rows written to {output}.")
        print(
            f"Left out: {made.without_label:,} without a label, "
            f"{made.without_features:,} without all features."
        )
        print(f"Data hash: {result['data_hash']}, as known at {made.training_set.known_at}.")

    print_result(result, json, print_text)


def _first_day(months: int | None, since: datetime | None) -> date | None:
    """That of --from, None without it. Raises BadParameter if --months is named as well."""
    if months is not None and since is not None:
        raise typer.BadParameter("Name --months or --from, not both.")
    return since.date() if since is not None else None


def _unknown(null_labels: int, premature_labels: int) -> str:
    """Why there is no label, where there is a row for it."""
    said = [f"{null_labels:,} of them null: not known"] if null_labels else []
    if premature_labels:
        said.append(f"{premature_labels:,} recorded before they could be known")
    return f" ({'; '.join(said)})" if said else ""


def _found(searched: Searched) -> str:
    """What a search has found, and on which rows."""
    best, failed = searched.winner, sum(not one.aucs for one in searched.trials)
    parameters = ", ".join(f"{name} {value}" for name, value in best.parameters.items())
    said = (
        f"Search: {len(searched.trials)} trials on {searched.folds}; the best is trial "
        f"{best.number}, {best.model} ({parameters or 'as it is built'}), with a mean AUC of "
        f"{best.auc:.4f} there. The rows that judge it were in no trial."
    )
    return f"{said} {failed} trials failed." if failed else said


def _corrected(figures: CalibrationFigures) -> str:
    """What a correction of probabilities has changed."""
    return (
        f"Calibrated ({figures.method}, on {figures.folds} parts of the training rows): Brier "
        f"{figures.brier_before:.4f} before, {figures.brier:.4f} after; calibration error "
        f"{figures.error_before:.4f} before, {figures.error:.4f} after."
    )
