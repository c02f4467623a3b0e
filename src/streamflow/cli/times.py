"""Options and arguments that are days or times."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer


def parse_day(text: str) -> datetime:
    """The day's beginning (without a zone). Raises BadParameter."""
    try:
        return datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007  # only its day is used
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} isn't a day such as 2024-01-31.") from error


AsOf = Annotated[
    datetime,
    typer.Option(
        "--as-of",
        parser=parse_day,
        metavar="YYYY-MM-DD",
        help="The day that the data speaks of (UTC).",
    ),
]


KnownAt = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="See only what was recorded by then (ISO; UTC if it names no zone); default: now.",
    ),
]


def parse_time(text: str | None) -> datetime | None:
    """The time in ISO 8601, in UTC; a time without a zone is UTC. Raises BadParameter."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r} isn't a time such as 2024-02-03T08:00:00Z.") from error


_UNITS = {"d": "days", "h": "hours", "w": "weeks"}


def parse_duration(text: str) -> timedelta:
    """The duration, a whole number of days, hours or weeks such as 180d. Raises BadParameter."""
    found = as_duration(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} isn't a duration such as 180d, 26w or 12h.")
    return found


def as_duration(text: str) -> timedelta | None:
    """The same; None if it isn't one."""
    found = re.fullmatch(r"([0-9]{1,5})([dhw])", text)
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found is not None else None
