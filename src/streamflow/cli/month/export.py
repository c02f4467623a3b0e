"""The command `export`: whom to contact."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.terminal import Json, open_platform, operator, print_result, show_progress
from streamflow.cli.times import AsOf
from streamflow.entity_id import RULE, is_id

if TYPE_CHECKING:
    from streamflow.pipeline.month.lists.export_list import Exported, Write
    from streamflow.scores.campaigns.list_file import Column
    from streamflow.scores.campaigns.selection import Limits

app = typer.Typer()


# Before and after the point; nobody counts in more.
_MOST_DIGITS = 15


class Format(StrEnum):
    """What kind of file it is, as it is typed."""

    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"


@app.command(
    epilog="Example: streamflow export --as-of 2024-03-31 --budget 500 --output contacts.xlsx"
)
def export(
    as_of: AsOf,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT",
            help="What the contacts may cost together, as the use case counts cost.",
        ),
    ] = None,
    top: Annotated[
        str | None,
        typer.Option(
            metavar="5%|NUMBER", help="The first so many, hold-outs among them; or a share of all."
        ),
    ] = None,
    min_value: Annotated[
        float | None,
        typer.Option(metavar="VALUE", help="Whose expected value is at least this, such as 0."),
    ] = None,
    output_format: Annotated[
        Format | None,
        typer.Option("--format", help="Default: by the ending of --output, else csv."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="The file, replaced if it exists; default: print CSV."),
    ] = None,
    hold_out: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="Drawn at random to be left alone, so that the effect can be measured.",
        ),
    ] = "10%",
    campaign: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Lists of one campaign hold out the same entities; "
            "default: a campaign of this month alone.",
        ),
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="By its scores; default: those of Production.")
    ] = None,
    json: Json = False,
) -> None:
    """Whom to contact, by the expected value of a contact, with a random hold-out.

    The expected value is probability · value · success - cost, by the use case's value=Value(...).
    Who has left is on no list. All limits that are given hold. The same list again is the same
    file.
    """
    from streamflow.pipeline.month.lists import export_list

    limits = _limits(budget, top, min_value)
    share = float(_share(hold_out, "--hold-out"))
    if not 0 <= share < 1:
        raise typer.BadParameter(f"--hold-out {hold_out} isn't a share from 0 to below 100 %.")
    if campaign is not None and not is_id(campaign):
        raise typer.BadParameter(f"--campaign {campaign!r} is no name, which is {RULE}.")
    kind = _format(output_format, output)
    if output is None and json:
        raise typer.BadParameter("--json needs --output: without it, the list is printed as CSV.")
    choice = export_list.Choice(as_of.date(), limits, share, campaign, version)
    with (
        ExitStack() as stack,
        open_platform() as platform,
        show_progress(json, "export") as progress,
    ):
        write = _writer(stack, kind, output)
        now = datetime.now(UTC)
        done = export_list.export_list(platform, choice, operator(), now, write, progress)
    if output is not None:
        result = {"output": str(output), **asdict(done)}
        print_result(result, json, lambda: print(_in_words(done, output)))
    else:
        print(_in_words(done, None), file=sys.stderr)


def _limits(budget: str | None, top: str | None, min_value: float | None) -> Limits:
    from streamflow.scores.campaigns.selection import Limits

    if budget is None and top is None and min_value is None:
        raise typer.BadParameter(
            "Say where the list ends: --budget AMOUNT, --top 5%, --top NUMBER or --min-value VALUE."
        )
    amount = None if budget is None else _decimal(budget, f"--budget {budget!r} isn't an amount.")
    if amount is not None and amount <= 0:
        raise typer.BadParameter(f"--budget {budget} isn't above 0.")
    if min_value is not None and not math.isfinite(min_value):
        raise typer.BadParameter(f"--min-value {min_value} isn't a number.")
    if top is None:
        return Limits(amount, min_value=min_value)
    if top.isascii() and top.isdigit() and int(top) > 0:
        return Limits(amount, top=int(top), min_value=min_value)
    share = _share(top, "--top")
    if not 0 < share <= 1 or not top.endswith("%"):
        raise typer.BadParameter(
            f"--top {top} is neither a share such as 5% nor a number such as 500."
        )
    return Limits(amount, top_share=share, min_value=min_value)


def _share(text: str, option: str) -> Decimal:
    """The share that is written as `5%` or as `0.05`."""
    said = f"{option} {text!r} isn't a share such as 5%."
    number = _decimal(text.removesuffix("%").strip(), said)
    return number / 100 if text.endswith("%") else number


def _decimal(text: str, said: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise typer.BadParameter(said) from error
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS:
        raise typer.BadParameter(said)
    return number


def _format(given: Format | None, output: Path | None) -> Format:
    """What kind of file is written. Raises BadParameter unless it is sure, and can be written."""
    if output is None:
        if given not in (None, Format.CSV):
            raise typer.BadParameter(f"--format {given} needs --output: it can't be printed.")
        return Format.CSV
    if not output.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {output.parent}.")
    if output.exists() and not output.is_file():
        raise typer.BadParameter(f"{output} is a {'folder' if output.is_dir() else 'device'}.")
    ending = output.suffix.casefold().removeprefix(".")
    if given is None:
        if ending not in list(Format):
            raise typer.BadParameter(
                f"{output} doesn't say by its ending what to write: name it .csv, .parquet or "
                ".xlsx, or add --format."
            )
        return Format(ending)
    if ending in list(Format) and ending != given:
        raise typer.BadParameter(f"{output} is {ending} by its ending, and --format says {given}.")
    return given


def _writer(stack: ExitStack, kind: Format, output: Path | None) -> Write:
    """A function that writes the list: to standard output, or to a file that takes the place of
    `output` when `stack` is closed."""
    from streamflow.scores.campaigns import list_file
    from streamflow.scratch import replacement

    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # it's a file, whatever the terminal shows
            sys.stdout.reconfigure(encoding="utf-8")
        return lambda columns: list_file.write_csv(sys.stdout, columns)
    try:
        temporary = stack.enter_context(replacement(output))
    except OSError as error:
        raise typer.BadParameter(f"{output} can't be written: {error.strerror}.") from error

    def write(columns: Sequence[Column]) -> None:
        list_file.write(temporary, kind.value, columns)

    return write


def _in_words(done: Exported, output: Path | None) -> str:
    unit = f" {done.unit}" if done.unit else ""
    lines = [
        f"List {done.list_id} of {done.as_of}, campaign {done.campaign!r}, version {done.version}: "
        f"{done.to_contact:,} to be contacted, {done.held_out:,} held out to be left alone."
    ]
    if done.cost is not None and done.expected is not None:
        lines.append(
            f"The contacts cost {done.cost:,.2f}{unit}; they are expected to bring "
            f"{done.expected:,.2f}{unit} above that."
        )
    if done.departed or done.departed_since:
        since = ""
        if done.departed_since:
            since = f", and {done.departed_since:,} that {done.newest_month} lacks"
        lines.append(f"Left, and on no list: {done.departed:,} that {done.as_of} lacks{since}.")
    if done.refused:
        counted = ", ".join(f"{count:,} {code}" for code, count in done.refused.items())
        lines.append(f"Without a score, and on no list: {counted}.")
    if done.without_value:
        lines.append(f"Of unknown worth, and on no list: {done.without_value:,}.")
    if done.losing:
        lines.append(
            f"warning: {done.losing:,} of the contacts cost more than they are expected to bring: "
            "add --min-value 0."
        )
    if not done.held_out:
        lines.append("warning: nobody is held out, so the effect can't be measured.")
    if not done.recorded:
        lines.append("The same list was exported before: nothing is recorded.")
    if output is not None:
        lines.append(f"Written to {output}.")
    return "\n".join(lines)
