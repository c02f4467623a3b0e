"""The prediction log's partitions: one for each day in UTC, created ahead, dropped when too old."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

from streamflow.errors import DatabaseUnavailable
from streamflow.postgres.database import Database

_PREFIX = "predictions_"


def partition_name(day: date) -> str:
    """`predictions_20240131`."""
    return f"{_PREFIX}{day:%Y%m%d}"


def partition_day(name: str) -> date | None:
    """The day of a partition by its name; None if `partition_name` gives no such name."""
    try:
        day = datetime.strptime(name, f"{_PREFIX}%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
    return day if partition_name(day) == name else None


def partition_days(database: Database) -> list[date]:
    """The days that have a partition, oldest first."""
    names = (row["name"] for row in database.rows("prediction_partitions"))
    return sorted(day for name in names if (day := partition_day(name)) is not None)


def create_partitions(database: Database, wanted: Iterable[date]) -> None:
    """Partitions for these days, where there are none. Many processes may do that at once."""
    with database.transaction():
        database.execute("lock_predictions")
        for day in sorted({*wanted} - {*partition_days(database)}):
            database.execute("create_prediction_partition", day=day)


def count_days(database: Database, before: date) -> None:
    """Count what each model served on the days before that one, which weren't counted yet. The
    counts stay when a day is dropped. Nothing happens if the user may not write them."""
    if not database.row("may_count_days")["may"]:
        return
    counted = {row["day"] for row in database.rows("counted_days")}
    for day in partition_days(database):
        if day < before and day not in counted:
            database.execute("count_day", day=day, after=day + timedelta(days=1))


def drop_partitions_before(database: Database, oldest: date) -> list[date]:
    """Drop the partitions of days before `oldest`, and return these days; none if the user may not.

    Raises DatabaseUnavailable, and drops none, if another session reads the log for longer than a
    second.
    """
    if not database.row("may_drop_predictions")["may"]:
        return []
    # A log that isn't dropped fills the disk; that is worse than a day that isn't counted.
    with suppress(DatabaseUnavailable):
        count_days(database, oldest)
    with database.transaction():
        database.execute("set_lock_timeout")
        database.execute("lock_predictions")
        gone = [day for day in partition_days(database) if day < oldest]
        for day in gone:
            database.execute("drop_prediction_partition", day=day)
    return gone
