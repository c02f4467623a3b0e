"""Claim: the online store is filled at the speed of PostgreSQL's own `INSERT ... SELECT`.

Peer: Feast's own PostgreSQL stores, written in batches of 10,000. Limits: the plain statement into
a plain table with a primary key, and COPY through this process. Four feature views, one row per
user and view, online tables emptied before each run; each store in a process of its own, whose peak
memory is reported. USERS="10000 200000 1000000" by default. The peer takes minutes for 200,000
users; it is measured once, up to PEER_USERS=200000.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bench import RESULTS, interleaved, machine, peak_mebibytes, temporary_folder
from bench.peers.bars import at_least, at_most, show
from streamflow.postgres import embedded_server

OURS, PEER = "feast_postgres", "Feast's PostgreSQL store"
PLAIN, COPY = "plain INSERT ... SELECT DISTINCT ON", "COPY out and in"
ROUNDS = 3
CLAIM = f"Materialization of 4 feature views with {OURS}, no slower per user the more there are"
END = datetime(2024, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
VIEWS = {
    "profile": {
        "months_active": "INT64",
        "monthly_fee": "DOUBLE",
        "paperless_billing": "BOOL",
        "plan_stream_tv": "BOOL",
        "plan_stream_movies": "BOOL",
        "net_service": "STRING",
    },
    "usage": {
        "watch_hours": "DOUBLE",
        "avg_session_mins": "DOUBLE",
        "unique_devices": "INT64",
        "skips": "INT64",
        "rebuffer_events": "INT64",
    },
    "payments": {"failed_payments": "INT64"},
    "support": {"tickets": "INT64", "resolution_hours": "DOUBLE"},
}
SQL_TYPES = {"INT64": "int8", "DOUBLE": "float8", "BOOL": "boolean", "STRING": "text"}
VALUES = {
    "INT64": "(random() * 100)::int8",
    "DOUBLE": "random() * 100",
    "BOOL": "random() < 0.5",
    "STRING": "(ARRAY['dsl', 'fibre', 'none'])[1 + (random() * 2)::int]",
}


store: Any = None  # set in a child process


def main() -> None:
    """Measure, print and write the results."""
    sizes = [int(size) for size in os.environ.get("USERS", "10000 200000 1000000").split()]
    peer_limit = int(os.environ.get("PEER_USERS", "200000"))
    print(f"{CLAIM}\n{machine()}\n")
    with temporary_folder() as folder, embedded_server.running(folder / "home") as url:
        measured = [compare(url, folder, users, users <= peer_limit) for users in sizes]
    shown = bars(measured)
    show(shown)
    RESULTS.mkdir(exist_ok=True)
    result = {"claim": CLAIM, "machine": machine(), "sizes": measured, "bars": shown}
    (RESULTS / "materialize.json").write_text(json.dumps(result, indent=2) + "\n")


def compare(url: str, folder: Path, users: int, with_peer: bool) -> dict[str, Any]:
    """The figures of all contestants at a number of users."""
    fill(url, users)
    with feast_process(url, folder, f"ours_{users}", ours=True) as ours:
        contestants: dict[str, Callable[[], float]] = {
            OURS: lambda: ours.submit(materialize, url, users).result(),
            PLAIN: lambda: insert_select(url),
            COPY: lambda: copy(url),
        }
        seconds = interleaved(contestants, ROUNDS)
        megabytes = {OURS: ours.submit(peak_megabytes).result()}
    if with_peer:
        with feast_process(url, folder, f"peer_{users}", ours=False) as peer:
            seconds[PEER] = [peer.submit(materialize, url, users).result()]
            megabytes[PEER] = peer.submit(peak_megabytes).result()
    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    print(f"{users:,} users")
    for name, median in medians.items():
        rate = f"{users / median:>9,.0f} users/s {median / users * 1e6:>7.1f} µs/user"
        memory = f"{megabytes[name]:>8,.0f} MB" if name in megabytes else ""
        print(
            f"  {name:<36}{median:>8.2f} s{rate} {median / medians[OURS]:>6.1f} times ours{memory}"
        )
    return {
        "users": users,
        "seconds": seconds,
        "medians": medians,
        "microseconds_per_user": {name: m / users * 1e6 for name, m in medians.items()},
        "users_per_second": {name: users / median for name, median in medians.items()},
        "times_ours": {name: median / medians[OURS] for name, median in medians.items()},
        "peak_megabytes": megabytes,
    }


def bars(measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claim, part by part."""
    first, last = measured[0], measured[-1]
    parts = [
        at_most(
            2, f"times the plain statement at {row['users']:,} users", 1 / row["times_ours"][PLAIN]
        )
        for row in measured
    ]
    parts += [
        at_least(20, f"times as fast as {PEER} at {row['users']:,} users", row["times_ours"][PEER])
        for row in measured
        if PEER in row["medians"]
    ]
    growth = last["microseconds_per_user"][OURS] / first["microseconds_per_user"][OURS]
    what = f"times the time per user at {last['users']:,} users as at {first['users']:,}"
    parts.append(at_most(1, what, growth))
    what = f"MB of memory at {last['users']:,} users"
    parts.append(at_most(300, what, last["peak_megabytes"][OURS]))
    return parts


def feast_process(url: str, folder: Path, project: str, ours: bool) -> ProcessPoolExecutor:
    """A new process with a Feast store whose imports are done."""
    arguments = (url, folder, project, ours)
    return ProcessPoolExecutor(1, get_context("spawn"), open_store, arguments)


def open_store(url: str, folder: Path, project: str, ours: bool) -> None:
    """Open the store of this child process, and materialize once without rows."""
    global store
    store = feast_store(url, folder, project, ours)
    long_ago = END - timedelta(days=1_000)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        store.materialize(long_ago, long_ago)


def peak_megabytes() -> float:
    """The peak resident memory of this process."""
    return peak_mebibytes()


def fill(url: str, users: int) -> None:
    """A history table per view, with a row per user."""
    with psycopg.connect(url, autocommit=True) as connection:
        for schema in ("history", "online", "plain"):
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
        for view, features in VIEWS.items():
            declared = ", ".join(f"{name} {SQL_TYPES[kind]}" for name, kind in features.items())
            values = ", ".join(VALUES[kind] for kind in features.values())
            columns = f"user_id text, {declared}, event_timestamp timestamptz"
            connection.execute(
                f"CREATE TABLE history.{view} ({columns}, recorded_at timestamptz, "
                "PRIMARY KEY (user_id, event_timestamp, recorded_at))"
            )
            connection.execute(
                f"INSERT INTO history.{view} SELECT 'U' || lpad(n::text, 9, '0'), {values}, "
                f"'{END}', '{END}'::timestamptz + interval '1 day' "
                f"FROM generate_series(1, {users}) AS n ORDER BY random()"
            )
            connection.execute(f"CREATE TABLE plain.{view} ({columns}, PRIMARY KEY (user_id))")
        connection.execute("VACUUM ANALYZE")


def feast_store(url: str, folder: Path, project: str, ours: bool) -> Any:
    """A Feast store with all views applied, with our stores or Feast's own in the same database."""
    from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
        PostgreSQLSource,
    )
    from feast.types import from_value_type

    parts = conninfo_to_dict(url)
    server = {
        "host": parts["host"],
        "port": int(parts.get("port") or 5432),
        "database": parts["dbname"],
        "user": parts["user"],
        "password": parts.get("password", ""),
        "sslmode": "disable",
    }
    configuration = {
        "project": project,
        "provider": "local",
        "registry": {"registry_type": "file", "path": str(folder / f"{project}.db")},
        "offline_store": {
            "type": "feast_postgres.PostgresOfflineStore" if ours else "postgres",
            "db_schema": "history",
            **server,
        },
        "online_store": {
            "type": "feast_postgres.PostgresOnlineStore" if ours else "postgres",
            "db_schema": "online",
            **server,
        },
        "batch_engine": "feast_postgres.PostgresEngine" if ours else "local",
        "materialization": {"online_write_batch_size": 10_000},
        "entity_key_serialization_version": 3,
    }
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    store = FeatureStore(config=RepoConfig(**configuration))
    views = [
        FeatureView(
            name=view,
            entities=[user],
            schema=[
                Field(name="user_id", dtype=from_value_type(ValueType.STRING)),
                *(
                    Field(name=name, dtype=from_value_type(ValueType[kind]))
                    for name, kind in features.items()
                ),
            ],
            source=PostgreSQLSource(
                name=view,
                table=view,
                timestamp_field="event_timestamp",
                created_timestamp_column="recorded_at",
            ),
            ttl=timedelta(0),
        )
        for view, features in VIEWS.items()
    ]
    store.apply([user, *views])
    return store


def materialize(url: str, users: int) -> float:
    """Seconds of a materialization into emptied tables."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT format('%%I.%%I', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname = 'online' AND tablename LIKE %s",
            [f"{store.project}%"],
        ).fetchall()
        connection.execute(f"TRUNCATE {', '.join(table for (table,) in tables)}")
        connection.execute("CHECKPOINT")
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            store.materialize(END - timedelta(days=1), END)
        seconds = time.perf_counter() - started
        features = ["profile:monthly_fee"]
        rows = [{"user_id": f"U{number:09}"} for number in (1, users)]
        assert None not in store.get_online_features(features, rows).to_dict()["monthly_fee"]
        return seconds


def insert_select(url: str) -> float:
    """Seconds of the plain statement."""

    def fill_view(connection: psycopg.Connection[Any], view: str, columns: str) -> None:
        connection.execute(
            f"INSERT INTO plain.{view} SELECT DISTINCT ON (user_id) {columns} FROM history.{view} "
            f"WHERE event_timestamp BETWEEN '{END - timedelta(days=1)}' AND '{END}' "
            "ORDER BY user_id, event_timestamp DESC, recorded_at DESC"
        )

    return _each_view(url, fill_view)


def copy(url: str) -> float:
    """Seconds of COPY out of PostgreSQL and in again."""

    def fill_view(connection: psycopg.Connection[Any], view: str, columns: str) -> None:
        out = f"COPY (SELECT {columns} FROM history.{view}) TO STDOUT (FORMAT BINARY)"
        into = f"COPY plain.{view} FROM STDIN (FORMAT BINARY)"
        with (
            psycopg.connect(url) as other,
            other.cursor().copy(out) as source,
            connection.cursor().copy(into) as target,
        ):
            for block in source:
                target.write(block)

    return _each_view(url, fill_view)


def _each_view(url: str, fill_view: Callable[[psycopg.Connection[Any], str, str], None]) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {', '.join(f'plain.{view}' for view in VIEWS)}")
        connection.execute("CHECKPOINT")
        started = time.perf_counter()
        for view, features in VIEWS.items():
            fill_view(connection, view, ", ".join(["user_id", *features, "event_timestamp"]))
        return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
