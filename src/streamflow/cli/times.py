"""Options and arguments that are days or times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

AsOf = Annotated[
    datetime,
    typer.Option("--as-of", formats=["%Y-%m-%d"], help="The day that the data speaks of (UTC)."),
]


def parse_time(text: str | None) -> datetime | None:
    """The time in ISO 8601, in UTC; a time without a zone is UTC. Raises BadParameter."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} isn't a time such as 2024-02-03T08:00:00Z.") from error
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
