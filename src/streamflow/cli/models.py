"""The commands about runs and versions: `runs`, `models`, `promote`, `rollback`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from streamflow.cli.terminal import Json, opened, operator, progress, show, table

app = typer.Typer()

Why = Annotated[str, typer.Option("--why", help="The reason, for the audit.")]


class Stage(StrEnum):
    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"


@app.command(epilog="Example: streamflow runs --json")
def runs(json: Json = False) -> None:
    """All training runs, newest first."""
    with opened() as platform, progress(json, "runs"):
        done = platform.registry.runs()
    answer = [
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
    show(answer, json, lambda: table("runs", columns, rows))


@app.command(epilog="Example: streamflow models")
def models(json: Json = False) -> None:
    """All versions of the registered model, newest first, with stage and alias."""
    with opened() as platform, progress(json, "models"):
        done = platform.registry.versions()
        name = platform.use_case.registered_model
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
    show([asdict(one) for one in done], json, lambda: table(name, columns, rows))


@app.command(epilog='Example: streamflow promote 3 --to production --why "better on March"')
def promote(
    version: Annotated[int, typer.Argument(help="See `streamflow models`.")],
    to: Annotated[Stage, typer.Option(help="The stage; who was in it is archived.")],
    why: Why,
    json: Json = False,
) -> None:
    """Move a version to a stage. Promotion to production is the deployment."""
    from streamflow.promotion import promote as deployment
    from streamflow.promotion.promoter import promoter
    from streamflow.registry.stages import STAGES

    with opened() as platform, progress(json, "promote"):
        now = datetime.now(UTC)
        who = promoter(platform, "promote", operator(), now)
        done = deployment.promote(platform, version, STAGES[to.value], why, who, now)
    show(asdict(done), json, lambda: _tell_promotion(done))


@app.command(epilog='Example: streamflow rollback --why "scores shifted"')
def rollback(why: Why, json: Json = False) -> None:
    """Bring back the version that was in production before."""
    from streamflow.promotion import promote as deployment
    from streamflow.promotion.promoter import promoter

    with opened() as platform, progress(json, "rollback"):
        now = datetime.now(UTC)
        who = promoter(platform, "rollback", operator(), now)
        done = deployment.rollback(platform, why, who, now)
    show(asdict(done), json, lambda: _tell_promotion(done))


def _tell_promotion(done: Any) -> None:
    if not done.changed:
        print(f"Version {done.version} is in {done.to_stage} already.")
        return
    replaced = f", in place of version {done.replaced}" if done.replaced else ""
    print(f"Version {done.version}: {done.from_stage} -> {done.to_stage}{replaced}.")
