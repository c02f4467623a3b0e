"""The commands `promote` and `rollback`."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.promotion.gates import print_gates
from streamflow.cli.terminal import (
    Json,
    open_platform,
    operator,
    print_result,
    show_progress,
)

if TYPE_CHECKING:
    from streamflow.promotion.promote import Promoted

app = typer.Typer()


def _reason(text: str) -> str:
    if not text.strip():
        raise typer.BadParameter("Say why in a few words, for those who ask later.")
    return text


Why = Annotated[
    str,
    typer.Option("--why", parser=_reason, metavar="TEXT", help="The reason, for the audit."),
]


class Stage(StrEnum):
    """A stage as it is typed."""

    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"


class Gate(StrEnum):
    """A gate as it is typed."""

    SERVABLE = "servable"
    RECREATED = "recreated"
    QUALITY = "quality"
    CALIBRATION = "calibration"
    SEGMENTS = "segments"
    STABILITY = "stability"
    LATENCY = "latency"
    APPROVAL = "approval"


@app.command(epilog='Example: streamflow promote 3 --to production --why "better on March"')
def promote(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="See `streamflow models`.")],
    to: Annotated[Stage, typer.Option(help="The stage; the version in it is archived.")],
    why: Why,
    override: Annotated[
        list[Gate] | None,
        typer.Option(help="To production in spite of this gate, for the reason in --why."),
    ] = None,
    json: Json = False,
) -> None:
    """Move a version to a stage; in production it is deployed: the API follows within seconds.

    Production is for versions that pass all gates: exit code 3 if one stops it.
    """
    from streamflow.promotion import promote as promotion
    from streamflow.promotion.promoter import promoter
    from streamflow.registry.stages import STAGES

    if override and to is not Stage.PRODUCTION:
        raise typer.BadParameter("--override is for --to production: no other stage has gates.")
    with open_platform() as platform, show_progress(json, "promote") as progress:
        now = datetime.now(UTC)
        who = promoter(platform, "promote", operator(), now)
        done = promotion.promote(
            platform,
            version,
            STAGES[to.value],
            why,
            who,
            now,
            overrides={gate.value: why for gate in override or ()},
            progress=progress,
        )
    print_result(done.as_dict(), json, lambda: _print_promotion(done))


@app.command(epilog='Example: streamflow rollback --why "scores shifted"')
def rollback(why: Why, json: Json = False) -> None:
    """Bring back the version that was in production before."""
    from streamflow.promotion import promote as promotion
    from streamflow.promotion.promoter import promoter

    with open_platform() as platform, show_progress(json, "rollback") as progress:
        now = datetime.now(UTC)
        who = promoter(platform, "rollback", operator(), now)
        done = promotion.rollback(platform, why, who, now, progress)
    print_result(done.as_dict(), json, lambda: _print_promotion(done))


def _print_promotion(done: Promoted) -> None:
    if not done.changed:
        print(f"Version {done.version} is in {done.to_stage} already.")
        return
    if done.report is not None and done.report.results:
        print_gates(done.report.as_dict())
    replaced = f", in place of version {done.replaced}" if done.replaced else ""
    print(f"Version {done.version}: {done.from_stage} -> {done.to_stage}{replaced}.")
    print(done.judged_on)
