"""When an as_of is: a date stands for its last microsecond in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time


def event_timestamp(as_of: date) -> datetime:
    """The last microsecond of the day, in UTC: all of the day has happened by then."""
    return datetime.combine(as_of, time.max, tzinfo=UTC)
