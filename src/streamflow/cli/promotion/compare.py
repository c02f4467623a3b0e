"""The command `compare`: two versions on live traffic."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.terminal import Json, open_platform, print_result, print_table, show_progress
from streamflow.cli.times import parse_time

if TYPE_CHECKING:
    from streamflow.promotion.compare import LiveComparison

app = typer.Typer()


@app.command(epilog="Example: streamflow compare 3 4 --from 2024-03-01")
def compare(
    first: Annotated[int, typer.Argument(metavar="VERSION", help="See `streamflow models`.")],
    second: Annotated[int, typer.Argument(metavar="VERSION", help="Compared with the first.")],
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Requests from then on (ISO; UTC)."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Requests before then (ISO; UTC).")
    ] = None,
    most: Annotated[
        int, typer.Option(min=0, help="How many entities that change side are shown.")
    ] = 10,
    json: Json = False,
) -> None:
    """Two versions on the live requests that both scored: who changes side, who was right."""
    from streamflow.promotion import compare as comparison

    began, ended = parse_time(since), parse_time(until)
    with open_platform() as platform, show_progress(json, "compare"):
        done = comparison.compare(platform, first, second, datetime.now(UTC), began, ended, most)
    print_result({**asdict(done), "agreement": done.agreement}, json, lambda: _print(done))


def _print(done: LiveComparison) -> None:
    one, other = done.versions
    print(
        f"{done.requests:,} requests of {done.entities:,} entities were scored by both version "
        f"{one} and version {other}, from {_minute(done.since)} to {_minute(done.until)} UTC."
    )
    for override in done.overrides:
        print(override)
    for version, problems in done.problems.items():
        if problems:
            told = ", ".join(f"{count:,} {code}" for code, count in sorted(problems.items()))
            print(f"Version {version} has no prediction for {told}.")
    if done.agreement is None:
        print("None of them has a prediction by both.")
        return
    print(
        f"Labels agree in {done.agreement:.1%} of {done.compared:,}; {done.changed:,} change side, "
        f"{done.to_true:,} of them to true, of {done.entities_changed:,} entities."
    )
    print(f"The scores shift by {done.score_shift:.3f} (population stability index).")
    _print_scores(done)
    if done.changes:
        rows = [
            [
                change.entity_id,
                *(f"{of.label} ({of.probability:.3f})" for of in (change.first, change.second)),
                change.request_id,
            ]
            for change in done.changes
        ]
        print()
        shown = f"{len(rows):,} of {done.entities_changed:,} entities that change side"
        print_table(shown, ["entity", f"version {one}", f"version {other}", "request"], rows)
    if done.features:
        print()
        print("Values that differ most between those that change side and the others:")
        for feature in done.features:
            print(f"  {feature.in_words}")
        print("That says where they are, and not why.")
    print()
    _print_quality(done)


def _print_scores(done: LiveComparison) -> None:
    from streamflow.promotion.compare import QUANTILES

    means = dict(zip(done.versions, done.mean_scores or (), strict=True))
    rows = [
        [str(version), f"{means[version]:.4f}", *(f"{value:.4f}" for value in values)]
        for version, values in done.quantiles.items()
    ]
    print()
    columns = ["version", "mean", *(f"{share:.0%}" for share in QUANTILES)]
    print_table("scores and their quantiles", columns, rows)


def _print_quality(done: LiveComparison) -> None:
    quality = done.quality
    if quality is None:
        print("Quality: can't tell, no label of these requests is known yet.")
        return
    months = ", ".join(str(month) for month in quality.months)
    left_out = f"; {quality.trained_on:,} were trained on and don't count" * bool(
        quality.trained_on
    )
    print(f"Quality by the labels of {months} that are known{left_out}:")
    print(f"{quality.sentence} Within the margins: {quality.outcome or 'none is set'}.")


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
