"""The moment that an as_of stands for: the last microsecond of its day in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time


def event_timestamp(as_of: date) -> datetime:
    """The last microsecond of the day in UTC: the whole day is over by then."""
    return datetime.combine(as_of, time.max, tzinfo=UTC)
