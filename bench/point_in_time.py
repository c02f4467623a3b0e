"""Claim: a training set of two months, from the command to the matrix, takes at most twice the time
of the plain SQL in PostgreSQL, and grows as the number of users does.

Peers: the same join written by hand for these tables, read as Arrow; and Feast's own PostgreSQL
offline store, as its documentation configures it. Same tables, same entities, same features.
USERS=100000,1000000 by default. A peer that takes longer than PEER_SECONDS (600) is stopped, and
isn't tried with more users.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
from adbc_driver_postgresql import dbapi

from bench import RESULTS, interleaved, machine, temporary_folder
from streamflow.bootstrap import platform
from streamflow.features import feature_store, point_in_time
from streamflow.history.as_of import event_timestamp
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.training.served_model import encode
from streamflow.training.values_seen import with_values_seen
from streamflow.use_case import Generation

MONTHS = [date(2024, 1, 31), date(2024, 2, 29)]
ROUNDS = int(os.environ.get("ROUNDS", "3"))
PEER_SECONDS = int(os.environ.get("PEER_SECONDS", "600"))
OURS, PLAIN, FEAST = "StreamFlow, to the matrix", "plain SQL, to Arrow", "Feast's store, to Arrow"
TABLES = {
    "subscriptions": [
        "months_active",
        "monthly_fee",
        "paperless_billing",
        "plan_stream_tv",
        "plan_stream_movies",
        "net_service",
    ],
    "usage_agg_30d": [
        "watch_hours_30d",
        "avg_session_mins_7d",
        "unique_devices_30d",
        "skips_7d",
        "rebuffer_events_7d",
    ],
    "payments_agg_90d": ["failed_payments_90d"],
    "support_agg_90d": ["support_tickets_90d", "ticket_avg_resolution_hrs_90d"],
}


def to_matrix(ready: Platform, users: int) -> None:
    """What `streamflow train` does before it fits."""
    assembled = point_in_time.assemble(ready.database, ready.use_case, MONTHS, datetime.now(UTC))
    training_set = assembled.training_set
    matrix = encode(with_values_seen(training_set), training_set.columns)
    assert len(matrix) > 0.9 * users * len(MONTHS)


def plain_sql(as_of: date) -> str:
    """The join of a month by hand: of each table, the newest row that was known."""
    moment, known = event_timestamp(as_of).isoformat(), "recorded_at <= now()"
    columns = ", ".join(f"{table}.{name}" for table, names in TABLES.items() for name in names)
    joins = "\n".join(
        f"""LEFT JOIN (
            SELECT DISTINCT ON (user_id) user_id, {", ".join(names)}
            FROM churn.{table}_history
            WHERE event_timestamp <= '{moment}' AND {known}
              AND event_timestamp >= '{moment}'::timestamptz - interval '45 days'
            ORDER BY user_id, event_timestamp DESC, recorded_at DESC
        ) AS {table} USING (user_id)"""
        for table, names in TABLES.items()
    )
    return f"""SELECT user_id, labels.churn_label, {columns}
        FROM (
            SELECT DISTINCT user_id FROM churn.users_history
            WHERE as_of = '{as_of}' AND {known}
        ) AS users
        JOIN (
            SELECT DISTINCT ON (user_id) user_id, churn_label FROM churn.labels_history
            WHERE as_of = '{as_of}' AND {known}
            ORDER BY user_id, recorded_at DESC
        ) AS labels USING (user_id)
        {joins}"""


def by_hand(ready: Platform, users: int) -> None:
    """The plain SQL of each month, one after the other."""
    with dbapi.connect(ready.database.url, autocommit=True) as connection:
        for as_of in MONTHS:
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('work_mem', '32MB', false)")
                cursor.fetchall()
                cursor.execute(plain_sql(as_of))
                assert cursor.fetch_arrow_table().num_rows > 0.9 * users


def by_feast(ready: Platform, users: int) -> None:
    """Feast's own store, with all entities of both months."""
    store = _peer_store(ready)
    months = ", ".join(f"DATE '{as_of}'" for as_of in MONTHS)
    entities = f"SELECT user_id, event_timestamp FROM churn.users_history WHERE as_of IN ({months})"
    service = store.get_feature_service(ready.use_case.feature_service)
    table = store.get_historical_features(entities, service).to_arrow()
    assert table.num_rows == users * len(MONTHS)


def _peer_store(ready: Platform) -> Any:
    from feast import FeatureStore, RepoConfig

    configuration: dict[str, Any] = feature_store.configuration(ready.database.url, ready.use_case)
    configuration["offline_store"]["type"] = "postgres"
    return FeatureStore(config=RepoConfig(**configuration))


def limited(ready: Platform, seconds: int, run: Callable[[], None]) -> bool:
    """Whether the peer came to its end before the server stopped its statement."""
    with psycopg.connect(ready.database.url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET statement_timeout = {seconds * 1000}')  # type: ignore[arg-type]
        try:
            run()
        except psycopg.errors.QueryCanceled:
            return False
        finally:
            connection.execute(f'ALTER DATABASE "{name}" RESET statement_timeout')  # type: ignore[arg-type]
    return True


def measured(folder: Path, users: int, with_feast: bool) -> dict[str, list[float]]:
    """Seconds per contestant and round, with so many users."""
    home = folder / f"home-{users}"
    with platform(load_settings(home=home, database_url=None, use_case="churn")) as ready:
        assert ready.use_case.generate is not None
        ready.use_case.generate(Generation(home / "data", users, len(MONTHS), 42))
        for number, as_of in enumerate(MONTHS):
            month = home / "data" / f"month_{number:03}"
            ingest(ready, month, as_of, None, datetime.now(UTC), "bench", really=True)
        apply(ready)

        def timed(step: Callable[[Platform, int], None]) -> Callable[[], float]:
            def run() -> float:
                started = time.perf_counter()
                step(ready, users)
                return time.perf_counter() - started

            return run

        timed(to_matrix)()  # Feast's import, and the pages of the tables
        seconds = interleaved({OURS: timed(to_matrix), PLAIN: timed(by_hand)}, ROUNDS)
        if with_feast:
            started = time.perf_counter()
            ended = limited(ready, PEER_SECONDS, lambda: by_feast(ready, users))
            if ended:
                seconds[FEAST] = [time.perf_counter() - started]
    return seconds


def shown(users: int, seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Print the medians of a size, and return them."""
    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    for name in (OURS, PLAIN, FEAST):
        if name not in medians:
            print(f"{users:>11,}  {name:<28} not within {PEER_SECONDS} s")
            continue
        ratio = "" if name == OURS else f"   ours is {medians[OURS] / medians[name]:.2f} times that"
        per_million = medians[name] / users * 1e6
        print(
            f"{users:>11,}  {name:<28} {medians[name]:8.2f} s  {per_million:8.2f} s/million{ratio}"
        )
    return {"users": users, "medians": medians, "seconds": dict(seconds)}


def bars(sizes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the claim asks for, and what was measured."""
    newest = sizes[-1]["medians"]
    of_plain = newest[OURS] / newest[PLAIN]
    growth = (newest[OURS] / sizes[-1]["users"]) / (sizes[0]["medians"][OURS] / sizes[0]["users"])
    found = [
        ("at most 2 times the plain SQL", of_plain, of_plain <= 2),
        ("at most 1.3 times the time per user of the smallest size", growth, growth <= 1.3),
    ]
    found += [
        (
            f"at least 5 times as fast as Feast's own store at {size['users']:,} users",
            times,
            times >= 5,
        )
        for size in sizes
        if FEAST in size["medians"]
        for times in [size["medians"][FEAST] / size["medians"][OURS]]
    ]
    return [{"bar": bar, "measured": measured, "met": met} for bar, measured, met in found]


def main() -> None:
    """Measure, print and write the results."""
    numbers = [int(one) for one in os.environ.get("USERS", "100000,1000000").split(",")]
    claim = "Training set of two months x 14 features in four views, by number of users"
    print(f"{claim}\n{machine()}\n")
    sizes: list[dict[str, Any]] = []
    with temporary_folder() as folder:
        for users in numbers:
            with_feast = not sizes or FEAST in sizes[-1]["medians"]
            sizes.append(shown(users, measured(folder, users, with_feast)))
    for bar in bars(sizes):
        print(f"{bar['bar']}: {bar['measured']:.2f}, {'met' if bar['met'] else 'not met'}")
    RESULTS.mkdir(exist_ok=True)
    result = {"claim": claim, "machine": machine(), "sizes": sizes, "bars": bars(sizes)}
    (RESULTS / "point_in_time.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
