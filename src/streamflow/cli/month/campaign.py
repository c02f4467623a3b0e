"""The commands `campaign record` and `campaign effect`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.command import KEY
from streamflow.cli.terminal import (
    Json,
    open_platform,
    operator,
    print_result,
    print_table,
    show_progress,
)
from streamflow.cli.times import KnownAt, parse_day, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamflow.pipeline.month.lists.campaign import CampaignEffect, ContactsOfList
    from streamflow.scores.campaigns.effect import Side

app = typer.Typer(
    name="campaign", help="Who was contacted, and what it brought.", no_args_is_help=True
)

SHOWN = 10

List = Annotated[
    int | None,
    typer.Option("--list", min=1, metavar="NUMBER", help="The list; `streamflow export` names it."),
]


@app.command(epilog="Example: streamflow campaign record contacts.xlsx")
def record(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=f"The list that comes back, or ids: CSV, .xlsx or .parquet with a column {KEY}. "
            "With a column contacted_on, the rows that have a day in it.",
        ),
    ],
    list_id: List = None,
    json: Json = False,
) -> None:
    """Record who of a list was contacted. The same file again adds nothing."""
    from streamflow.pipeline.month.lists import campaign

    with open_platform() as platform, show_progress(json, "campaign record"):
        done = campaign.record(platform, file, list_id, operator(), datetime.now(UTC))
    print_result(asdict(done), json, lambda: _print_recorded(done))


@app.command(epilog="Example: streamflow campaign effect --as-of 2024-03-31")
def effect(
    as_of: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_day, metavar="YYYY-MM-DD", help="The month of the list; default: all."
        ),
    ] = None,
    list_id: List = None,
    known_at: KnownAt = None,
    json: Json = False,
) -> None:
    """What campaigns brought: those who were to be contacted beside those held out.

    They are compared as they were drawn, whoever was contacted then (by intention to treat). Where
    the numbers can't tell, it says so.
    """
    from streamflow.pipeline.month.lists import campaign

    known = parse_time(known_at)
    with open_platform() as platform, show_progress(json, "campaign effect"):
        day = None if as_of is None else as_of.date()
        found = campaign.effects(platform, datetime.now(UTC), day, list_id, known)
    print_result([asdict(one) for one in found], json, lambda: _print_effects(found))


def _print_recorded(done: ContactsOfList) -> None:
    contacts = done.contacts
    print(
        f"List {done.list_id} of {done.as_of}, campaign {done.campaign!r}: {contacts.added:,} "
        f"contacts recorded, {contacts.known:,} were recorded before."
    )
    if done.left_out:
        print(f"Not contacted, as they have no day in contacted_on: {done.left_out:,}.")
    if contacts.held_out:
        print(
            f"warning: {len(contacts.held_out):,} were to be left alone and were contacted: "
            f"{_first(contacts.held_out)}. The effect will look smaller than it is."
        )
    if contacts.unknown:
        print(
            f"warning: {len(contacts.unknown):,} aren't on the list, and nothing is recorded of "
            f"them: {_first(contacts.unknown)}. Spreadsheets that open CSV may drop zeros at an "
            "id's beginning: `--format xlsx` keeps them."
        )
    if contacts.other_day:
        print(
            f"warning: {len(contacts.other_day):,} were recorded with another day, which stays: "
            f"{_first(contacts.other_day)}."
        )


def _first(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - SHOWN:,} more" if len(ids) > SHOWN else ""
    return ", ".join(ids[:SHOWN]) + more


def _print_effects(found: Sequence[CampaignEffect]) -> None:
    for one in found:
        effect = one.effect
        rows = [
            _row("to contact", effect.to_contact),
            _row("held out", effect.held_out),
        ]
        print_table(
            f"list {one.list_id} of {one.as_of}, campaign {one.campaign!r}",
            ["", "entities", "contacted", "labelled", f"{one.label} true", "share"],
            rows,
        )
        said = {"fewer": "It helped", "more": "It did harm", "can't tell": "Can't tell"}
        print(f"{said[effect.outcome]}: {effect.message}")
        if effect.outcome != "can't tell" and effect.kept is not None:
            kept = effect.kept
            print(f"  That is {kept.value:,.0f} kept ({kept.low:,.0f} to {kept.high:,.0f}).")
        if effect.outcome != "can't tell" and effect.per_contact is not None:
            per = effect.per_contact
            print(
                f"  For each who was contacted because of the list: {per.value * 100:.1f} points "
                f"({per.low * 100:.1f} to {per.high * 100:.1f})."
            )
        if effect.what_to_do:
            print(f"  next: {effect.what_to_do}")
        if effect.held_out.contacted:
            print(
                f"warning: {effect.held_out.contacted:,} of those held out were contacted. They "
                "count as held out, so the effect looks smaller than it is."
            )
        if 0 < one.early_labels < effect.to_contact.labelled + effect.held_out.labelled:
            print(
                f"warning: {one.early_labels:,} labels were known before the list was exported; no "
                "contact can have changed them."
            )


def _row(name: str, side: Side) -> list[object]:
    share = side.share_true
    shown = "" if share is None else f"{share.value * 100:.1f} %"
    return [name, side.entities, side.contacted, side.labelled, side.true, shown]
