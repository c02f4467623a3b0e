"""The commands `ingest` and `withdraw`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
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
from streamflow.cli.times import parse_day, parse_time

if TYPE_CHECKING:
    from streamflow.history.append import IngestedTable
    from streamflow.history.ingest import IngestedMonth
    from streamflow.use_case import UseCase

app = typer.Typer()

# What becomes of entities without a row in a table, by its rule in the use case.
_WITHOUT_ROW = {
    "refuse": 'by absent="refuse" they are neither trained on nor predicted for',
    "null": 'by absent="null" their features are null',
}


@app.command(epilog="Example: streamflow ingest data/month_000 --as-of 2024-01-31")
def ingest(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR", help="One file per table; several folders with --as-of-pattern."
        ),
    ],
    as_of: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_day, metavar="YYYY-MM-DD", help="The day that the data speaks of (UTC)."
        ),
    ] = None,
    as_of_from_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The files have several months: this column says of which one a row is; or two "
            "do, such as year,month.",
        ),
    ] = None,
    as_of_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="The folders' names, or the files', say their month: a regular expression with "
            "the groups year and month, such as '(?P<year>\\d{4})-(?P<month>\\d{2})'.",
        ),
    ] = None,
    recorded_at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="When the files arrived (ISO, UTC), for archives; default: now."
        ),
    ] = None,
    complete: Annotated[
        bool,
        typer.Option(
            "--complete", help="The files have every entity: others of this AS_OF don't count now."
        ),
    ] = False,
    really: Annotated[
        bool,
        typer.Option(
            "--really", help="They are of this AS_OF, though they look like another month's."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Check a month's files and add what is new to history; all tables or none.

    Of several months each is an ingestion of its own, the oldest first.
    """
    from streamflow.pipeline import ingest as step_ingest
    from streamflow.scratch import scratch

    recorded, now = parse_time(recorded_at), datetime.now(UTC)
    said = [one for one in (as_of, as_of_from_column, as_of_pattern) if one is not None]
    if len(said) != 1:
        raise typer.BadParameter("Say one of --as-of, --as-of-from-column and --as-of-pattern.")
    if len(folders) > 1 and as_of_pattern is None:
        raise typer.BadParameter(
            "Several folders have several months: say --as-of-pattern, by which their names do."
        )
    done = []
    with (
        open_platform() as platform,
        show_progress(json, "ingest") as progress,
        scratch(platform.settings.scratch) as links,
    ):
        if as_of is not None:
            months = [step_ingest.MonthFiles(as_of.date(), folders[0])]
        elif as_of_from_column is not None:
            months = step_ingest.months_by_column(
                platform, folders[0], as_of_from_column, now, links, progress
            )
        else:
            months = step_ingest.months_by_name(folders, as_of_pattern or "", links)
        # Each is told as soon as it is there: a later one may be refused.
        for one in step_ingest.ingest_months(
            platform, months, recorded, now, operator(), progress, complete, really
        ):
            done.append(one)
            if not json:
                _print(one, folders[0], platform.use_case, alone=as_of is not None)
    documents = {
        str(month.as_of): {
            name: {"ingestion_id": month.ingestion_id, **asdict(table)}
            for name, table in month.tables.items()
        }
        for month in done
    }
    if json:
        print_result(documents[str(as_of.date())] if as_of else documents, json, lambda: None)


def _print(done: IngestedMonth, folder: Path, use_case: UseCase, alone: bool) -> None:
    rules = {table.name: _WITHOUT_ROW[table.absent] for table in use_case.tables()}
    rules[use_case.label.table] = "without a label, they aren't trained on"
    rows = [[name, one.rows, one.added, one.unchanged] for name, one in done.tables.items()]
    title = f"AS_OF {done.as_of}, ingestion {done.ingestion_id}"
    print_table(title, ["table", "rows", "added", "unchanged"], rows)
    if not any(table.added or table.absent for table in done.tables.values()):
        print("Nothing is new: all of it was known before.")
    for name, one in done.tables.items():
        for said in _said(one, rules[name]):
            print(f"{name}: {said}.")
    if alone and any(table.only_in_history for table in done.tables.values()):
        print(
            "If they shouldn't be there any more: "
            f"streamflow ingest {quote(str(folder))} --as-of {done.as_of} --complete"
        )


def _said(one: IngestedTable, without_row: str) -> Iterator[str]:
    yield from one.changes
    yield from one.same_file
    if one.new_entities:
        count = _entities(one.new_entities, "is", "are")
        yield f"{count} new at this AS_OF, which was loaded before"
    if one.forgotten:
        count = "1 row is" if one.forgotten == 1 else f"{one.forgotten:,} rows are"
        yield f"{count} of persons who were forgotten, left out: they don't come back"
    yield from (f"by --really, though {against}" for against in one.overridden)
    if one.null_labels:
        verb = "label is" if one.null_labels == 1 else "labels are"
        yield f"{one.null_labels:,} {verb} null: not known, never learnt from"
    if one.without_row:
        yield f"{_entities(one.without_row, 'has', 'have')} no row: {without_row}"
    if one.absent:
        count = _entities(one.absent, "isn't", "aren't")
        yield f"{count} in {one.file}, and {'do' if one.absent > 1 else 'does'}n't count now"
    if one.only_in_history:
        count = _entities(one.only_in_history, "isn't", "aren't")
        yield f"{count} in {one.file}; {'they stay' if one.only_in_history > 1 else 'it stays'}"


def _entities(count: int, singular: str, plural: str) -> str:
    return f"1 entity {singular}" if count == 1 else f"{count:,} entities {plural}"


@app.command(epilog='Example: streamflow withdraw 7 --why "it was February, not January"')
def withdraw(
    ingestion: Annotated[
        int, typer.Argument(min=1, help="Its number, as `ingest` and `status` tell it.")
    ],
    why: Annotated[str, typer.Option(help="Kept for ever, with who and when.")],
    json: Json = False,
) -> None:
    """Take an ingestion back: what it added doesn't count from now on; before, it did."""
    from streamflow.pipeline import withdraw as step_withdraw

    if not why.strip():
        raise typer.BadParameter("Say --why.")
    with open_platform() as platform, show_progress(json, "withdraw"):
        done = step_withdraw.withdraw(platform, ingestion, why, datetime.now(UTC), operator())
    rows = [[name, table.entities, table.absent] for name, table in done.tables.items()]

    def print_text() -> None:
        if done.already:
            print(
                f"Ingestion {done.ingestion_id} (AS_OF {done.as_of}) doesn't count since "
                f"{done.recorded_at:%Y-%m-%d %H:%M} UTC, by {done.withdrawn_by}: {done.why}. "
                "Nothing was changed."
            )
            return
        title = f"ingestion {done.ingestion_id} of AS_OF {done.as_of} doesn't count any more"
        print_table(title, ["table", "entities taken back", "entities back again"], rows)
        print("What earlier ingestions said of them counts again.")
        if done.confirming:
            print(
                "Load again the files of ingestion "
                f"{', '.join(map(str, done.confirming))}: rows that they had, and this one had "
                "before, are taken back too."
            )
        print(
            f"Next: streamflow materialize; and streamflow train --as-of {done.as_of}, where "
            "this AS_OF was trained on."
        )

    print_result(asdict(done), json, print_text)
