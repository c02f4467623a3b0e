"""The command `init`."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.terminal import (
    Json,
    open_platform,
    operator,
    print_result,
    show_progress,
)
from streamflow.cli.times import parse_day
from streamflow.cli.use_case.init_texts import print_columns, print_done, print_months

if TYPE_CHECKING:
    from streamflow.pipeline.ingest import MonthFiles
    from streamflow.platform import Platform
    from streamflow.scaffold.draft import Proposal
    from streamflow.scaffold.month_changes import MonthChange
    from streamflow.scaffold.profile import Profile
    from streamflow.scaffold.several_months import SeveralMonths

app = typer.Typer()


@app.command(epilog="Example: streamflow init data/2024-01 --name pumps --as-of 2024-01-31")
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The files of one month: CSV, Parquet, Excel.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Of the use case and its package; default: the folder's.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="The column that says whom or what a row is about.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="The column to be predicted: COLUMN or TABLE.COLUMN.")
    ] = None,
    positive: Annotated[
        str | None,
        typer.Option(metavar="VALUES", help="The label's values that mean yes: churned,left."),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(min=0, metavar="DAYS", help="How long after the month the label is known."),
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(help="The decimal mark of numbers, where it isn't plain.")
    ] = None,
    date_order: Annotated[
        str | None,
        typer.Option(
            "--date", metavar="ORDER", help="How dates are written, as DD/MM/YYYY says it."
        ),
    ] = None,
    blank_is_no: Annotated[
        bool, typer.Option("--blank-is-no", help="An empty cell of the label means no.")
    ] = False,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_day,
            metavar="YYYY-MM-DD",
            help="The day that the rows speak of; default: the last day of last month.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the package is written.")
    ] = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="Take what is proposed.")] = False,
    json: Json = False,
) -> None:
    """Write a use case from a month's files, load them, and train a first model.

    Every row is read. With a package of that name, what this month has that its contract doesn't is
    told, and nothing is changed.
    """
    from streamflow.errors import StreamFlowError
    from streamflow.scaffold.several_months import profiles_of
    from streamflow.scaffold.written import Told
    from streamflow.scratch import scratch
    from streamflow.use_case import Csv

    if decimal not in (None, ".", ","):
        raise typer.BadParameter("Say --decimal . or --decimal , .")
    if date_order is not None:
        Csv(date=date_order)  # refuses what is no order of a date's parts
    name = _package_name(name, folder)
    package = output / name
    with show_progress(json, "init") as progress, tempfile.TemporaryDirectory() as links:
        how = Told(decimal, date_order, blank_is_no)
        told_day = as_of.date() if as_of is not None else None
        of_names = None if package.exists() else told_day
        found, profiles = profiles_of(folder, Path(links), how, progress, of_names)
    if package.exists():
        _tell_changes(name, output, profiles, json)
        return
    if not json:
        print_columns(profiles)
    means_yes = tuple(positive.split(",")) if positive else ()
    until = _events_until(told_day, found)
    proposal = _answered(name, profiles, key, label, horizon, yes, json, means_yes, until)
    day = told_day or _newest_month_end(proposal.horizon_days, proposal.newest_event)
    if found is not None:
        day = found.months[-1]
        if not json:
            print_months(folder, found)
    _write(package, proposal, folder, day.isoformat(), found)
    sys.path.insert(0, str(output.resolve()))
    paths = [str(output.resolve()), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    from streamflow.operations.first_model import first_model

    os.environ["STREAMFLOW_USE_CASE"] = name
    with (
        open_platform() as platform,
        show_progress(json, "init") as progress,
        scratch(platform.settings.scratch) as links,
    ):
        now = datetime.now(UTC)
        try:
            months = _months(platform, folder, found, links, now)
            done = first_model(platform, folder, day, now, operator(), progress, months)
        except StreamFlowError as error:  # the package stays: what is to be changed may be in it
            error.next += (
                f" The use case is written, in {package}. Before that command: `export "
                f"STREAMFLOW_USE_CASE={name} PYTHONPATH={quote(str(output.resolve()))}`; its "
                "README.md has the commands after it."
            )
            raise
    result = {
        "package": str(package),
        "join_key": proposal.join_key,
        "label": f"{proposal.label_table}.{proposal.label_column}",
        "notes": proposal.notes,
        "months": found.months if found else [],
        **asdict(done),
    }
    print_result(result, json, lambda: print_done(package, proposal, done))


def _months(
    platform: Platform, folder: Path, found: SeveralMonths | None, links: Path, now: datetime
) -> Sequence[MonthFiles] | None:
    from streamflow.pipeline.ingest import months_by_column, months_by_name

    if found is None:
        return None
    if found.pattern:
        return months_by_name(found.folders or [folder], found.pattern, links)
    return months_by_column(platform, folder, found.column, now, links)


def _package_name(name: str | None, folder: Path) -> str:
    from streamflow.scaffold.names import plain_name

    found = plain_name(name or folder.resolve().name)
    if name is not None and found != name:
        raise typer.BadParameter(f"{name!r} can't be a package; take --name {found}.")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", found) or found in sys.stdlib_module_names:
        raise typer.BadParameter(f"{found!r} can't be a package; say another with --name.")
    return found


def _events_until(told: date | None, found: SeveralMonths | None) -> date:
    """The last day that a file of events may have."""
    return found.months[-1] if found is not None else told or datetime.now(UTC).date()


def _newest_month_end(horizon_days: int, newest_event: date | None) -> date:
    """The last day of the newest event's month, or today if it isn't over; without events, the
    newest last day of a month whose labels are known by now."""
    if newest_event is not None:
        ends = newest_event.replace(day=monthrange(newest_event.year, newest_event.month)[1])
        return min(ends, datetime.now(UTC).date())
    known = datetime.now(UTC).date() - timedelta(days=horizon_days)
    return known.replace(day=1) - timedelta(days=1)


def _answered(
    name: str,
    profiles: Sequence[Profile],
    key: str | None,
    label: str | None,
    horizon: int | None,
    yes: bool,
    json: bool,
    positive: tuple[str, ...],
    events_until: date | None,
) -> Proposal:
    """The proposal, with what a person says to key, label and horizon on a terminal."""
    from streamflow.scaffold.key_and_label import (
        propose_key,
        propose_key_and_label,
        propose_label,
    )
    from streamflow.scaffold.proposal import propose

    asks = not yes and not json and sys.stdin.isatty()
    if not yes and not asks and None in (key, label, horizon):
        raise typer.BadParameter("Say --key, --label and --horizon, or --yes for what is proposed.")
    if asks and key is None:
        default = propose_key(profiles)
        key = propose_key(profiles, typer.prompt("Key of a row", default=default))
    chosen, predicted = propose_key_and_label(profiles, key, label)
    if asks and label is None:
        told = typer.prompt("Label to predict", default=predicted)
        predicted = propose_label(profiles, chosen, told)
    days = horizon or 0
    if asks and horizon is None:
        days = typer.prompt("Days until the label is known", default=0, type=int)
    return propose(name, profiles, chosen, predicted, days, positive, events_until)


def _write(
    package: Path, proposal: Proposal, folder: Path, as_of: str, found: SeveralMonths | None
) -> None:
    """The whole package or none: it is written beside and moved."""
    from streamflow.scaffold.package import package_files

    package.parent.mkdir(parents=True, exist_ok=True)
    partial = package.with_name(f".{package.name}.partial")
    partial.mkdir(exist_ok=True)
    several, months = "", 1
    if found is not None:
        there = f"{quote(str(folder))}{'/*' if found.folders else ''}"
        several, months = f"{there} {found.options}", len(found.months)
    for file, text in package_files(proposal, str(folder), as_of, several, months).items():
        (partial / file).write_text(text, encoding="utf-8")
    partial.rename(package)


def _tell_changes(name: str, output: Path, profiles: Sequence[Profile], json: bool) -> None:
    from streamflow.scaffold.month_changes import month_changes
    from streamflow.use_case.module import load_use_case

    sys.path.insert(0, str(output.resolve()))
    tables = load_use_case(name).tables()
    # Of a package that somebody wrote by hand, there may be no such list.
    there = sys.modules.get(f"{name}.tables")
    changes = list(month_changes(tables, profiles, getattr(there, "LEFT_OUT", ())))

    def print_text() -> None:
        if not changes:
            print(f"The files are as {output / name} has them.")
        for one in changes:
            print(_said(one))
        if changes:
            print(f"Nothing was changed; {output / name / 'tables.py'} is yours.")

    print_result({"changes": [asdict(one) for one in changes]}, json, print_text)


def _said(change: MonthChange) -> str:
    where = f"{change.table}, {change.column!r}" if change.column else change.table
    return f"{where}: {change.what}." + (f" Write: {change.line}" if change.line else "")
