"""The command `train`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from streamflow.cli.terminal import Json, open_platform, print_result, print_table, show_progress
from streamflow.cli.times import AsOf, parse_time

app = typer.Typer()


@app.command(epilog="Example: streamflow train --as-of 2024-01-31 --model logistic_regression")
def train(
    as_of: AsOf,
    model: Annotated[str | None, typer.Option(help="By name; default: the use case's.")] = None,
    random_state: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Decides split and fit.")
    ] = 42,
    known_at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="See only what was recorded by then (ISO; UTC if it names no zone); default: now.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Train at a fixed AS_OF, prove the served form, register a version."""
    from streamflow.pipeline import train as step_train

    known = parse_time(known_at)
    with open_platform() as platform, show_progress(json, "train") as progress:
        done = step_train.train(
            platform, as_of.date(), model, random_state, datetime.now(UTC), progress, known_at=known
        )

    def print_text() -> None:
        metrics = done.metrics
        rows = [
            ["version", f"{done.version} (run {done.run_id})"],
            ["rows", f"{done.rows:,}, categorical: {', '.join(done.categorical) or 'none'}"],
            [
                "AUC",
                f"{metrics['auc']:.4f} ({metrics['auc_low']:.4f} to {metrics['auc_high']:.4f})"
                if (metrics["auc_low"], metrics["auc_high"]) != (0, 1)
                else f"can't tell ({metrics['auc']:.4f} by too few rows)",
            ],
            ["F1, accuracy", f"{metrics['f1']:.4f}, {metrics['accuracy']:.4f}"],
            ["served form", f"equal, largest difference {done.largest_difference:.1e}"],
            ["data hash", done.data_hash],
            ["model hash", done.model_hash],
        ]
        print_table(f"{done.model} as of {done.as_of}, known at {done.known_at}", ["", ""], rows)
        if done.without_label or done.without_features:
            unknown = f" ({done.null_labels:,} of them null: not known)" if done.null_labels else ""
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
