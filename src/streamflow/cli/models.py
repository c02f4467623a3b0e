"""The commands `runs`, `models`, `promote` and `rollback`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.terminal import (
    OTHER,
    Json,
    forgotten_use_case,
    open_platform,
    operator,
    print_result,
    print_table,
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


@app.command(epilog="Example: streamflow runs --json")
def runs(json: Json = False) -> None:
    """All training runs, newest first."""
    with open_platform() as platform, show_progress(json, "runs"):
        done = platform.registry.runs()
        hint = "" if done else forgotten_use_case(platform)
    result = [
        {**asdict(run), "started_at": datetime.fromtimestamp(run.started_at, UTC)} for run in done
    ]
    rows = [
        [
            run.run_id,
            run.status,
            f"{datetime.fromtimestamp(run.started_at, UTC):%Y-%m-%d %H:%M}",
            run.params.get("as_of", ""),
            run.params.get("model", ""),
            f"{run.metrics.get('auc', float('nan')):.4f}",
        ]
        for run in done
    ]
    columns = ["run", "status", "started (UTC)", "as of", "model", "AUC"]

    def print_text() -> None:
        print_table("runs", columns, rows)
        if not done:
            _print_nothing_yet("run", hint)

    print_result(result, json, print_text)


@app.command(epilog="Example: streamflow models")
def models(json: Json = False) -> None:
    """All versions of the registered model, newest first, with stage and alias."""
    with open_platform() as platform, show_progress(json, "models"):
        done = platform.registry.versions()
        name = platform.use_case.registered_model
        hint = "" if done else forgotten_use_case(platform)
    rows = [
        [
            str(one.version),
            one.stage,
            ", ".join(one.aliases),
            f"{one.metrics.get('auc', float('nan')):.4f}",
            one.run_id,
        ]
        for one in done
    ]
    columns = ["version", "stage", "alias", "AUC", "run"]

    def print_text() -> None:
        print_table(name, columns, rows)
        for sentence in dict.fromkeys(one.judged_on for one in done):
            which = [str(one.version) for one in done if one.judged_on == sentence]
            print(f"Version{'s' if len(which) > 1 else ''} {', '.join(which)}: {sentence}")
        if not done:
            _print_nothing_yet("version", hint)

    print_result([asdict(one) for one in done], json, print_text)


@app.command(epilog='Example: streamflow promote 3 --to production --why "better on March"')
def promote(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="See `streamflow models`.")],
    to: Annotated[Stage, typer.Option(help="The stage; the version in it is archived.")],
    why: Why,
    json: Json = False,
) -> None:
    """Move a version to a stage; in production it is deployed: the API follows within seconds."""
    from streamflow.promotion import promote as promotion
    from streamflow.promotion.promoter import promoter
    from streamflow.registry.stages import STAGES

    with open_platform() as platform, show_progress(json, "promote"):
        now = datetime.now(UTC)
        who = promoter(platform, "promote", operator(), now)
        done = promotion.promote(platform, version, STAGES[to.value], why, who, now)
    print_result(asdict(done), json, lambda: _print_promotion(done))


@app.command(epilog='Example: streamflow rollback --why "scores shifted"')
def rollback(why: Why, json: Json = False) -> None:
    """Bring back the version that was in production before."""
    from streamflow.promotion import promote as promotion
    from streamflow.promotion.promoter import promoter

    with open_platform() as platform, show_progress(json, "rollback"):
        now = datetime.now(UTC)
        who = promoter(platform, "rollback", operator(), now)
        done = promotion.rollback(platform, why, who, now)
    print_result(asdict(done), json, lambda: _print_promotion(done))


def _print_nothing_yet(what: str, hint: str) -> None:
    other = f" {hint} {OTHER}" if hint else ""
    print(f"No {what} yet.{other} Run `streamflow train`.")


def _print_promotion(done: Promoted) -> None:
    if not done.changed:
        print(f"Version {done.version} is in {done.to_stage} already.")
        return
    replaced = f", in place of version {done.replaced}" if done.replaced else ""
    print(f"Version {done.version}: {done.from_stage} -> {done.to_stage}{replaced}.")
    print(done.judged_on)
