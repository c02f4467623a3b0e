"""The commands `history` and `approve`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamflow.cli.promotion.promote import Why
from streamflow.cli.terminal import (
    Json,
    open_platform,
    operator,
    print_error,
    print_result,
    print_table,
    show_progress,
)
from streamflow.cli.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamflow.platform import Platform
    from streamflow.promotion.change import RecordedChange
    from streamflow.promotion.lookup.anchors import Verified
    from streamflow.promotion.lookup.production_at import Answered, ProductionAt
    from streamflow.promotion.lookup.uses import VersionUse

app = typer.Typer()


@app.command(epilog="Example: streamflow history --at 2024-03-15T12:00")
def history(
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Who was in Production then (ISO; UTC if it names no zone).",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Whether each row is as it was written; else exit code 1."),
    ] = False,
    json: Json = False,
) -> None:
    """Every change of stages, approvals and overrides, and what each version served."""
    moment = parse_time(at)
    if moment is not None and verify:
        raise typer.BadParameter("--at and --verify are two questions: ask one.")
    with open_platform() as platform, show_progress(json, "history"):
        if verify:
            _verify(platform, json)
        elif moment is not None:
            _print_at(platform, moment, json)
        else:
            _print_all(platform, json)


@app.command(epilog='Example: streamflow approve 3 --why "looked at the segments"')
def approve(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="See `streamflow models`.")],
    why: Why,
    json: Json = False,
) -> None:
    """Approve a version, for the gate that asks for a second person."""
    from streamflow.promotion import approve as approving
    from streamflow.promotion.promoter import promoter

    with open_platform() as platform, show_progress(json, "approve"):
        now = datetime.now(UTC)
        who = promoter(platform, "approve", operator(), now)
        done = approving.approve(platform, version, why, who, now)
    said = "approved" if done.changed else "had approved already"
    print_result(asdict(done), json, lambda: print(f"{done.who} {said} version {done.version}."))


def _print_all(platform: Platform, json: bool) -> None:
    from streamflow.promotion import model_history
    from streamflow.promotion.lookup import uses

    model = platform.registry.model
    changes = model_history.changes(platform.database, model)
    served = uses.uses(platform.database, model, datetime.now(UTC).date())
    result = {
        "model": model,
        "changes": [asdict(one) for one in changes],
        "served": [asdict(one) for one in served],
    }
    print_result(result, json, lambda: _print_history(model, changes, served))


def _print_history(
    model: str, changes: Sequence[RecordedChange], served: Sequence[VersionUse]
) -> None:
    if not changes:
        print("No stage has changed yet. Run `streamflow promote`.")
        return
    rows = [
        [
            str(one.number),
            f"{one.at:%Y-%m-%d %H:%M:%S}",
            one.kind,
            "" if one.version is None else str(one.version),
            _moved(one),
            one.who,
            one.why,
            one.model_hash[:12],
            _gates(one.details),
        ]
        for one in changes
    ]
    columns = ["", "when (UTC)", "what", "version", "stage", "who", "why", "model", "gates"]
    print_table(f"history of {model}", columns, rows)
    if served:
        print()
        print_table(
            "what each version served",
            ["version", "model", "predictions", "first (UTC)", "last (UTC)"],
            [
                [
                    str(one.version),
                    one.model_hash[:12],
                    one.predictions,
                    f"{one.first_at:%Y-%m-%d %H:%M:%S}",
                    f"{one.last_at:%Y-%m-%d %H:%M:%S}",
                ]
                for one in served
            ],
        )


def _moved(change: RecordedChange) -> str:
    if (alias := change.details.get("alias")) is not None:
        before = change.details.get("before")
        return f"alias {alias}" + (f", before: {before}" if before is not None else "")
    if change.to_stage is None:
        return change.from_stage or ""
    if change.version is None:
        return f"{change.to_stage} is empty, before: {change.replaced}"
    replaced = f", in place of {change.replaced}" if change.replaced is not None else ""
    return f"{change.from_stage} -> {change.to_stage}{replaced}"


def _gates(details: Any) -> str:
    """What was overridden or stopped it, in a few words."""
    overrides = details.get("overrides") or {}
    return "; ".join(f"{gate} overridden: {why}" for gate, why in overrides.items())


def _by_canary(answer: Answered) -> str:
    return "" if answer.stage == "Production" else f", the canary in {answer.stage}"


def _print_at(platform: Platform, moment: datetime, json: bool) -> None:
    from streamflow.promotion.lookup.production_at import production_at

    found = production_at(platform, moment)
    print_result(asdict(found), json, lambda: _print_production_at(found))


def _print_production_at(found: ProductionAt) -> None:
    said = f"{found.at:%Y-%m-%d %H:%M:%S} UTC"
    if found.version is None:
        print(f"At {said} no version was in Production.")
    else:
        print(f"At {said} version {found.version} was in Production.")
    if found.served != found.version:
        print(
            f"The API served version {found.served}."
            if found.served is not None
            else "The API served none."
        )
    for name, one in (("since", found.since), ("until", found.until)):
        if one is not None:
            print(f"{name} {one.at:%Y-%m-%d %H:%M:%S}: {one.kind} by {one.who}: {one.why}")
    for name, answer in (("before", found.before), ("after", found.after)):
        if answer is not None:
            print(
                f"the next prediction {name} it, {answer.predicted_at:%H:%M:%S.%f}, is of version "
                f"{answer.version}{_by_canary(answer)}: {answer.request_id}"
            )


def _verify(platform: Platform, json: bool) -> None:
    from streamflow.promotion.lookup import anchors

    found = anchors.verify(platform)
    result = {**asdict(found), "whole": found.bent is None}
    print_result(result, json, lambda: _print_verified(found))
    if found.bent is not None:
        raise typer.Exit(1)


def _print_verified(found: Verified) -> None:
    if found.bent is not None:
        print_error(
            "history_bent",
            f"Row {found.bent.number} of the history of {found.model!r} isn't what was written: "
            f"{found.bent.how}.",
            "Compare with a backup's `streamflow.model_history`, and with the events that "
            "receivers of the webhook kept; `streamflow restore` brings a backup back.",
            as_json=False,
        )
        return
    rows = "1 row" if found.rows == 1 else f"{found.rows:,} rows"
    print(f"Whole: {rows}, each as it was written.")
    if found.head is not None:
        print(f"The newest is row {found.head.number}, hash {found.head.hash}.")
    if found.anchor is not None:
        print(f"MLflow has row {found.anchor.number} written down, with the same hash.")
        for one in found.after_anchor:
            print(
                f"Row {one.number} came after it: {one.kind} by {one.who}, written as "
                f"{one.written_by}. It is held by the chain and its event alone."
            )
    elif found.without_anchor:
        print(f"Not held against MLflow: {found.without_anchor}")
