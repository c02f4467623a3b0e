"""Days and times as people write them in a notebook."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TypeAlias

Day: TypeAlias = date | str
Moment: TypeAlias = datetime | str


def day(given: Day) -> date:
    """The date; of a text such as 2024-01-31. Raises ValueError for anything else."""
    if isinstance(given, datetime):
        raise ValueError(f"{given!r} is a time; name a day such as 2024-01-31")
    return given if isinstance(given, date) else date.fromisoformat(given)


def moment(given: Moment) -> datetime:
    """The time in UTC; one without a zone is in UTC. Raises ValueError for a text that isn't a time
    in ISO 8601."""
    time = datetime.fromisoformat(given) if isinstance(given, str) else given
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def now() -> datetime:
    """The time at which a step is called."""
    return datetime.now(UTC)
