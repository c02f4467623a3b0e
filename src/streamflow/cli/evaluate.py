"""The commands `evaluate` and `backtest`: what came true."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
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
from streamflow.cli.times import AsOf, KnownAt, parse_day, parse_time
from streamflow.scratch import replacement

if TYPE_CHECKING:
    from streamflow.pipeline.backtest import Backtest
    from streamflow.pipeline.evaluate import Evaluated
    from streamflow.training.backtest import Judged

app = typer.Typer()


@app.command(epilog="Example: streamflow evaluate 3 --as-of 2024-03-31")
def evaluate(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="See `streamflow models`.")],
    as_of: AsOf,
    known_at: KnownAt = None,
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


@app.command(
    epilog="Example: streamflow backtest --from 2024-01-31 --to 2024-12-31 --plot honest.png"
)
def backtest(
    first: Annotated[
        datetime,
        typer.Option("--from", parser=parse_day, metavar="YYYY-MM-DD", help="The first as_of."),
    ],
    last: Annotated[
        datetime,
        typer.Option("--to", parser=parse_day, metavar="YYYY-MM-DD", help="The last as_of."),
    ],
    model: Annotated[
        list[str] | None, typer.Option(help="By name, once each; default: all of the use case.")
    ] = None,
    months: Annotated[
        int | None,
        typer.Option(min=1, help="Learn from so many months at most; default: all before."),
    ] = None,
    ahead: Annotated[
        int, typer.Option(min=1, help="Judge each on so many months that come after.")
    ] = 3,
    random_state: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Decides splits and fits.")
    ] = 42,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Draw the curve into this PNG.")
    ] = None,
    json: Json = False,
) -> None:
    """What would have been reported of each model month by month, and what came true."""
    from streamflow.pipeline import backtest as step_backtest

    if plot is not None and plot.suffix.casefold() != ".png":
        raise typer.BadParameter(f"{plot} isn't a PNG: name it .png.")
    if plot is not None and not plot.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {plot.parent}.")
    choice = step_backtest.Choice(
        first.date(), last.date(), model or (), random_state, months, ahead
    )
    with (
        _picture(plot) as picture,
        open_platform() as platform,
        show_progress(json, "backtest") as progress,
    ):
        done = step_backtest.backtest(platform, choice, datetime.now(UTC), progress)
        if picture is not None:
            from streamflow.training import plots

            plots.draw_backtest(done.backtested, picture)
    result = {**asdict(done), "left_out": {str(day): why for day, why in done.left_out.items()}}
    print_result(result, json, lambda: _print_backtest(done, plot))


@contextmanager
def _picture(plot: Path | None) -> Iterator[Path | None]:
    """A file that takes the place of `plot` after the block. What can't be written is refused
    before the work."""
    if plot is None:
        yield None
        return
    with ExitStack() as opened:
        try:
            picture = opened.enter_context(replacement(plot))
        except OSError as error:
            raise typer.BadParameter(f"{plot} can't be written: {error.strerror}.") from error
        yield picture


def _print_backtest(done: Backtest, plot: Path | None) -> None:
    rows = [
        [
            str(one.as_of),
            one.model,
            str(len(one.months)),
            _judged(one.at_random),
            _judged(one.out_of_time),
            _judged(one.next),
        ]
        for one in done.backtested
    ]
    columns = ["as of", "model", "months", "at random", "out of time", "came true"]
    print_table("reported and true, AUC", columns, rows)
    for problem in dict.fromkeys(one.problem for one in done.backtested if one.problem):
        print(f"warning: {problem}")
    for conclusion in done.conclusions:
        print(f"\n{conclusion.model}")
        for sentence in conclusion.sentences:
            print(f"  {sentence}")
    if done.left_out:
        print("\nLeft out, as their labels judge nobody:")
        for day, why in done.left_out.items():
            print(f"  {day}: {why}")
    if done.as_known_now:
        days = done.as_known_now
        print(
            f"\nOf {days[0]} to {days[-1]} ({len(days)}) it isn't known what was known then, as "
            "they were recorded later: they are as known now."
        )
    if plot is not None:
        print(f"\nDrawn into {plot}.")


def _judged(one: Judged | None) -> str:
    if one is None:
        return ""
    if one.told is None:
        return f"can't tell ({one.positives:,} true of {one.rows:,})"
    return f"{one.told.auc:.3f} ({one.told.auc_low:.2f} to {one.told.auc_high:.2f})"


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
