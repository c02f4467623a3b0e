"""The command `score`: everyone's score of a month."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.terminal import Json, open_platform, operator, print_result, show_progress
from streamflow.cli.times import AsOf, KnownAt, parse_time

if TYPE_CHECKING:
    from streamflow.scores.everyone import Scored

app = typer.Typer()


@app.command(epilog="Example: streamflow score --as-of 2024-03-31")
def score(
    as_of: AsOf,
    known_at: KnownAt = None,
    version: Annotated[
        int | None, typer.Option(help="See `streamflow models`; default: the one that serves.")
    ] = None,
    json: Json = False,
) -> None:
    """Score everyone of a month, with the rank of each. A scoring that was killed goes on; one that
    was made before isn't made again."""
    from streamflow.scores import everyone as step

    known = parse_time(known_at)
    with open_platform() as platform, show_progress(json, "score") as progress:
        now = datetime.now(UTC)
        done = step.score(platform, as_of.date(), operator(), now, progress, known, version)
    print_result({**asdict(done.scoring), "added": done.added}, json, lambda: _print(done))


def _print(done: Scored) -> None:
    made = done.scoring
    print(f"Version {made.version} scored {made.entities:,} entities of {made.as_of}.")
    if made.departed:
        print(f"Left, and not scored: {made.departed:,}.")
    for code, count in made.refused.items():
        print(f"Refused, {code}: {count:,}.")
    if not done.added:
        print(f"Scored before, at {made.scored_at:%Y-%m-%d %H:%M} UTC: nothing is added.")
