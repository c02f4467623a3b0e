"""The command `reasons`: why entities have their scores."""

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
from streamflow.cli.times import parse_day

if TYPE_CHECKING:
    from streamflow.pipeline.month.explain_scores import Explanation
    from streamflow.reasons.recorded import FrequentReason

app = typer.Typer()


@app.command(epilog="Example: streamflow reasons --as-of 2024-03-31 --top 5000")
def reasons(
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of", parser=parse_day, metavar="YYYY-MM-DD", help="Default: the newest scores."
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Of so many entities, by rank.")] = 50_000,
    version: Annotated[
        int | None, typer.Option(help="Scores of this version; default: of the one that served.")
    ] = None,
    json: Json = False,
) -> None:
    """Why the entities with the highest scores have them: three reasons each, exact and in words.

    Entities that were explained before keep their reasons. An explanation that doesn't add up to
    the score is refused and told.
    """
    from streamflow.pipeline.month import explain_scores as step
    from streamflow.reasons import recorded

    with open_platform() as platform, show_progress(json, "reasons") as progress:
        day = as_of.date() if as_of else None
        now = datetime.now(UTC)
        done = step.explain_scores(platform, day, top, operator(), now, progress, version)
        frequent = recorded.most_frequent(platform.database, done.scoring.scoring_id)
    document = {**asdict(done), "most_frequent": [asdict(one) for one in frequent]}
    print_result(document, json, lambda: _print(done, frequent))


def _print(done: Explanation, frequent: list[FrequentReason]) -> None:
    scoring = done.scoring
    what = f"Version {scoring.version}, AS_OF {scoring.as_of}"
    if not done.top:
        print(f"{what}: nobody has a score, so there is nothing to explain.")
        return
    news = f"{done.new:,} of them new" if done.new else "all of them explained before"
    print(f"{what}: the {done.top:,} highest scores of {scoring.entities:,} are explained, {news}.")
    print(
        f"Contributions, in {done.scale}, start from {done.base:.4f}, the mean score of "
        f"{done.background['rows']:,} {done.background['rule']}."
    )
    if done.refused:
        names = ", ".join(done.refused_entities)
        more = ", …" if done.refused > len(done.refused_entities) else ""
        print(
            f"Refused: {done.refused:,} explanations don't add up to their scores, and aren't "
            f"shown: {names}{more}."
        )
    if frequent:
        print_table(
            "What raises scores most often",
            ("feature", "entities", "strongest", "mean contribution"),
            [
                (
                    one.feature,
                    f"{one.entities:,}",
                    f"{one.strongest:,}",
                    f"{one.mean_contribution:+.4f}",
                )
                for one in frequent
            ],
        )
