"""The command `evaluate`, which judges a version on a month."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.terminal import (
    Json,
    open_platform,
    operator,
    print_result,
    print_table,
    show_progress,
)
from streamflow.cli.times import AsOf, parse_time

if TYPE_CHECKING:
    from streamflow.pipeline.evaluate import Evaluated

app = typer.Typer()


@app.command(epilog="Example: streamflow evaluate 3 --as-of 2024-03-31")
def evaluate(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="See `streamflow models`.")],
    as_of: AsOf,
    known_at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="See only what was recorded by then (ISO; UTC if it names no zone); default: now.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Judge a version on a month whose labels are known, by the file that is served."""
    from streamflow.pipeline import evaluate as step_evaluate

    known = parse_time(known_at)
    with open_platform() as platform, show_progress(json, "evaluate") as progress:
        now = datetime.now(UTC)
        done = step_evaluate.evaluate(
            platform, version, as_of.date(), operator(), now, progress, known_at=known
        )
    print_result(asdict(done), json, lambda: _print_evaluation(done))


def _print_evaluation(done: Evaluated) -> None:
    from streamflow.training import evaluation

    made = done.evaluation
    figures = made.figures
    rows = [
        ["rows", f"{made.rows:,}, {made.positives:,} with the label true"],
        ["AUC", evaluation.auc_in_words(figures)],
        ["F1, accuracy", f"{figures['f1']:.4f}, {figures['accuracy']:.4f}"],
        ["average precision", f"{figures['average_precision']:.4f}"],
        ["log loss, Brier", f"{figures['log_loss']:.4f}, {figures['brier']:.4f}"],
        ["hash of the rows", made.rows_hash],
    ]
    title = f"version {made.version} judged on {made.as_of}, known at {made.known_at}"
    print_table(title, ["", ""], rows)
    if done.without_label or done.without_features:
        print(
            f"Left out: {done.without_label:,} without a label, "
            f"{done.without_features:,} without all features."
        )
    for code, count in done.problems.items():
        print(f"No prediction for {count:,}: {code}.")
    for warning in done.warnings:
        print(f"warning: {warning}")
    if not done.recorded:
        print(
            f"Evaluated before, at {made.evaluated_at:%Y-%m-%d %H:%M} UTC by {made.evaluated_by}, "
            "with the same figures: nothing is added."
        )
