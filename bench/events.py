"""Claim: a month's features from events take at most twice as long as the same SQL by hand.

12 windows (counts, sums, means and distinct counts over 30, 90 and 365 days) of events that are
in the table of events; both insert a row per entity into a table with a primary key. By hand, it is
one `INSERT ... SELECT` without what a history has: withdrawals, a cut at a moment of knowledge, one
order of the sums.

    python -m bench.events --events 10000000 --entities 100000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from bench import interleaved, report, temporary_folder
from streamflow.bootstrap import platform
from streamflow.history.append import Ingestion
from streamflow.history.as_of import event_timestamp
from streamflow.history.events.aggregate import append_aggregated
from streamflow.history.events.events_table import create_events_table
from streamflow.history.events.stage_events import AddedEvents
from streamflow.history.history_changes import follow_contract
from streamflow.history.recorded_columns import recorded_columns
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.settings import load_settings
from streamflow.use_case import Count, Distinct, Events, Mean, Sum, Table, UseCase

AS_OF = date(2024, 12, 31)
RECORDED_AT = datetime(2025, 1, 2, tzinfo=UTC)
WINDOWS = (30, 90, 365)
OURS, BY_HAND = "streamflow", "SQL by hand"


def plays() -> Table:
    """The table of events, with 12 aggregations."""
    from pandera.pandas import Column, DataFrameSchema

    contract = DataFrameSchema(
        {
            "user_id": Column("string"),
            "played_at": Column("datetime64[us, UTC]"),
            "minutes": Column("Float64"),
            "title": Column("Int64"),
        }
    )
    aggregations = {
        name: aggregation
        for days in WINDOWS
        for name, aggregation in (
            (f"plays_{days}d", Count(days)),
            (f"minutes_{days}d", Sum("minutes", days)),
            (f"mean_{days}d", Mean("minutes", days)),
            (f"titles_{days}d", Distinct("title", days)),
        )
    }
    return Table("plays", events=Events(contract, "user_id", "played_at", aggregations))


def people() -> Table:
    """The entity table."""
    from pandera.pandas import Column, DataFrameSchema

    return Table("people", DataFrameSchema({"user_id": Column("string")}))


def fill(ready: Platform, use_case: UseCase, events: int, entities: int) -> None:
    """The year's events in the order of time, and a month of entities."""
    with ready.database.transaction():
        for table in use_case.tables():
            follow_contract(ready.database, use_case, table)
        create_events_table(ready.database, use_case, plays())
    with ready.database.connection() as connection:
        connection.execute("SELECT setseed(0.5)")
        connection.execute(
            "SELECT streamflow.create_month('bench_events', 'people_history', %s, 'user_id')",
            [AS_OF],
        )
        connection.execute(
            "INSERT INTO bench_events.people_history (user_id, as_of, recorded_at, ingestion_id) "
            "SELECT 'user-' || one, %s, %s, 1 FROM generate_series(1, %s) AS one",
            [AS_OF, RECORDED_AT, entities],
        )
        connection.execute(
            "INSERT INTO bench_events.plays_events "
            "(user_id, played_at, minutes, title, recorded_at, ingestion_id) "
            "SELECT 'user-' || 1 + floor(random() * %(entities)s)::bigint, "
            "%(end)s - interval '365 days' * (1 - one::float8 / %(events)s), "
            "random() * 100, floor(random() * 1000)::bigint, %(recorded_at)s, 1 "
            "FROM generate_series(1, %(events)s) AS one",
            {
                "entities": entities,
                "events": events,
                "end": event_timestamp(AS_OF),
                "recorded_at": RECORDED_AT,
            },
        )
        connection.execute("ANALYZE bench_events.plays_events")
        connection.execute("ANALYZE bench_events.people_history")


def ours(database: Database, use_case: UseCase) -> float:
    """Seconds of what `ingest` does when its events are in the table; taken back afterwards."""
    ingestion = Ingestion(1, use_case, AS_OF, RECORDED_AT, complete=False)
    recorded = recorded_columns(database, use_case)
    nothing_new = AddedEvents(0, None, None)
    with database.transaction():
        database.execute("enlarge_memory")
        started = time.perf_counter()
        append_aggregated(
            database,
            ingestion,
            plays(),
            Path("plays.csv"),
            "",
            recorded,
            nothing_new,
        )
        seconds = time.perf_counter() - started
    with database.connection() as connection:
        connection.execute("TRUNCATE bench_events.plays_history")
    return seconds


def by_hand(database: Database) -> float:
    """Seconds of the peer, in a session with as much memory."""
    windows = ", ".join(
        f"count(*) FILTER (WHERE {inside}) AS plays_{days}, "
        f"sum(minutes) FILTER (WHERE {inside}) AS minutes_{days}, "
        f"avg(minutes) FILTER (WHERE {inside}) AS mean_{days}, "
        f"count(DISTINCT title) FILTER (WHERE {inside}) AS titles_{days}"
        for days in WINDOWS
        for inside in [
            f"played_at > '{event_timestamp(AS_OF)}'::timestamptz - '{days} days'::interval"
        ]
    )
    columns = ", ".join(
        f"plays_{days} bigint, minutes_{days} float8, mean_{days} float8, titles_{days} bigint"
        for days in WINDOWS
    )
    with database.transaction(), database.connection() as connection:
        database.execute("enlarge_memory")
        connection.execute("DROP TABLE IF EXISTS by_hand")
        connection.execute(f"CREATE TABLE by_hand (user_id text PRIMARY KEY, {columns})")
        started = time.perf_counter()
        connection.execute(
            f"INSERT INTO by_hand SELECT user_id, {windows} "
            "FROM bench_events.people_history LEFT JOIN bench_events.plays_events USING (user_id) "
            f"WHERE played_at > '{event_timestamp(AS_OF)}'::timestamptz - '365 days'::interval "
            "GROUP BY user_id"
        )
        return time.perf_counter() - started


def main() -> None:
    """Measure, print and write the results."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--events", type=int, default=10_000_000)
    given.add_argument("--entities", type=int, default=100_000)
    given.add_argument("--rounds", type=int, default=3)
    sizes = given.parse_args()
    with temporary_folder() as folder:
        settings = load_settings(home=folder / "home", database_url=None, use_case="churn")
        with platform(settings) as ready:
            use_case = replace(
                ready.use_case,
                name="bench_events",
                join_key="user_id",
                entity_table="people",
                tables=lambda: (people(), plays()),
            )
            fill(ready, use_case, sizes.events, sizes.entities)
            contestants: dict[str, Callable[[], float]] = {
                OURS: lambda: ours(ready.database, use_case),
                BY_HAND: lambda: by_hand(ready.database),
            }
            seconds = interleaved(contestants, sizes.rounds)
    claim = (
        f"{sizes.events:,} events of {sizes.entities:,} entities, {4 * len(WINDOWS)} windows: "
        "at most twice as long as the same SQL by hand"
    )
    report("events", claim, OURS, seconds)


if __name__ == "__main__":
    main()
