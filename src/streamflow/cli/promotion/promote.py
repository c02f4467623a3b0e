"""The commands `promote` and `rollback`."""

from __future__ import annotations

from dataclasses import asdict
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
    why: Why,
    to: Annotated[
        Stage | None, typer.Option(help="The stage; the version in it is archived.")
    ] = None,
    canary: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            metavar="PERCENT",
            help="Let the version in Staging answer this share of the entities; 0 ends it.",
        ),
    ] = None,
    override: Annotated[
        list[Gate] | None,
        typer.Option(help="To production in spite of this gate, for the reason in --why."),
    ] = None,
    json: Json = False,
) -> None:
    """Move a version to a stage; in production it is deployed: the API follows within seconds.

    Production is for versions that pass all gates: exit code 3 if one stops it. With --canary the
    version stays in Staging, and answers a share of the entities.
    """
    from streamflow.promotion import promote as promotion
    from streamflow.promotion.promoter import promoter
    from streamflow.registry.stages import STAGES

    if override and to is not Stage.PRODUCTION:
        raise typer.BadParameter("--override is for --to production: no other stage has gates.")
    if canary is not None and to is None:
        _set_canary(version, canary, why, json)
        return
    if to is None or canary is not None:
        raise typer.BadParameter("Say one of --to STAGE and --canary PERCENT.")
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
def rollback(
    why: Why,
    leaving: Annotated[
        int | None,
        typer.Option(
            "--from",
            metavar="VERSION",
            help="Only from this version: run again, it goes no further back.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Bring back the version that was in production before."""
    from streamflow.promotion import promote as promotion
    from streamflow.promotion.promoter import promoter

    with open_platform() as platform, show_progress(json, "rollback") as progress:
        now = datetime.now(UTC)
        who = promoter(platform, "rollback", operator(), now)
        done = promotion.rollback(platform, why, who, now, progress, leaving=leaving)
    print_result(done.as_dict(), json, lambda: _print_promotion(done))


def _set_canary(version: int, percent: float, why: str, json: bool) -> None:
    from streamflow.promotion import canary
    from streamflow.promotion.promoter import promoter

    with open_platform() as platform, show_progress(json, "promote"):
        now = datetime.now(UTC)
        who = promoter(platform, "promote", operator(), now)
        done = canary.set_canary(platform, version, percent, why, who, now)

    def print_text() -> None:
        if not done.changed:
            already = f"answers {percent:g} % of the entities" if percent else "is no canary"
            print(f"Version {version} {already} already.")
        elif percent:
            print(f"Version {version}, in Staging, answers {percent:g} % of the entities.")
            print("See `streamflow compare`; `--canary 0` ends it.")
        else:
            print(f"The canary of version {version} has ended: Production answers all entities.")

    print_result(asdict(done), json, print_text)


def _print_promotion(done: Promoted) -> None:
    if not done.changed:
        print(f"Version {done.version} is in {done.to_stage} already.")
        return
    if done.report is not None and done.report.results:
        print_gates(done.report.as_dict())
    replaced = f", in place of version {done.replaced}" if done.replaced else ""
    print(f"Version {done.version}: {done.from_stage} -> {done.to_stage}{replaced}.")
    print(done.judged_on)
