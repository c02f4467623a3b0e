"""Materialization inside the database: the same rows as by Feast's local engine, and exact."""

from __future__ import annotations

import asyncio
import logging
import math
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from feast import Entity, FeatureView, Field, PushSource, StreamFeatureView, ValueType
from feast.types import (
    Array,
    Bool,
    Bytes,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    String,
    UnixTimestamp,
    Uuid,
)
from psycopg import sql
from tests.feast_stores import FEBRUARY, JANUARY, cut_connections, server_of
from tests.feast_warehouse import (
    CORRECTED,
    DELIVERED,
    END,
    MICROSECOND,
    START,
    USER,
    Warehouse,
    applied,
    fees,
    profile,
    random_rows,
)

from feast_postgres import engine

pytest_plugins = "tests.feast_warehouse"


@pytest.mark.parametrize("seed", range(3))
def test_random_tables_come_out_as_from_feasts_own_engine(warehouse: Warehouse, seed: int) -> None:
    warehouse.insert(*random_rows(seed, 300))
    ours, local = warehouse.store(), warehouse.store("local")
    for store in (ours, local):
        applied(store, profile()).materialize(START, END)
    assert warehouse.online(ours) == warehouse.online(local)
    assert len(warehouse.online(ours)) > 30


def test_nothing_is_lost_that_the_way_through_pandas_loses(warehouse: Warehouse) -> None:
    months = {"ada": 2**53 + 1, "bob": None, "eve": -(2**63)}
    for user, count in months.items():
        warehouse.insert((user, math.nan, count, None, None, None, None, JANUARY, DELIVERED))
    store = applied(warehouse.store(), profile())
    store.materialize(START, END)
    rows = [{"user_id": user} for user in months]
    response = store.get_online_features(["profile:months", "profile:fee"], rows).to_dict()
    assert response["months"] == list(months.values())
    assert [struct.pack("<d", fee) for fee in response["fee"]] == [struct.pack("<d", math.nan)] * 3


def test_the_window_includes_both_its_ends_and_nothing_else(warehouse: Warehouse) -> None:
    for user, at in [
        ("before", START - MICROSECOND),
        ("start", START),
        ("end", END),
        ("after", END + MICROSECOND),
    ]:
        warehouse.fee(user, 1.0, at)
    store = applied(warehouse.store(), profile())
    store.materialize(START, END)
    assert fees(store, "before", "start", "end", "after") == [None, 1.0, 1.0, None]


def test_of_an_entitys_rows_the_newest_wins_and_of_those_the_last_correction(
    warehouse: Warehouse,
) -> None:
    warehouse.fee("ada", 1.0, JANUARY, CORRECTED)
    warehouse.fee("ada", 2.0, FEBRUARY, DELIVERED)
    warehouse.fee("ada", 3.0, FEBRUARY, CORRECTED)
    warehouse.fee("ada", 3.0, FEBRUARY, CORRECTED)
    store = applied(warehouse.store(), profile())
    store.materialize(START, END)
    assert fees(store, "ada") == [3.0]


def test_only_rows_known_at_that_time_are_materialized(warehouse: Warehouse) -> None:
    warehouse.fee("ada", 1.0, JANUARY, DELIVERED)
    warehouse.fee("ada", 2.0, JANUARY, CORRECTED)
    warehouse.fee("new", 2.0, JANUARY, CORRECTED)
    store = applied(warehouse.store(known_at=DELIVERED), profile())
    store.materialize(START, END)
    assert fees(store, "ada", "new") == [1.0, None]
    store.config.offline_store.known_at = CORRECTED
    store.materialize(START, END)
    assert fees(store, "ada", "new") == [2.0, 2.0]


def test_a_cut_that_cannot_be_made_is_an_error_and_writes_nothing(warehouse: Warehouse) -> None:
    warehouse.fee("ada", 1.0, JANUARY)
    store = applied(warehouse.store(known_at=DELIVERED), profile(created_timestamp_column=""))
    with pytest.raises(ValueError, match="no created_timestamp_column"):
        store.materialize(START, END)
    assert warehouse.online(store) == []


def test_the_same_window_again_leaves_every_row_as_it_is(warehouse: Warehouse) -> None:
    warehouse.insert(*random_rows(7, 100))
    store = applied(warehouse.store(), profile())
    store.materialize(START, END)

    def versions() -> Any:
        table = sql.Identifier(warehouse.schema, f"{store.project}.profile")
        with psycopg.connect(warehouse.url) as connection:
            query = sql.SQL("SELECT user_id, ctid::text FROM {} ORDER BY 1").format(table)
            return connection.execute(query).fetchall()

    before = warehouse.online(store), versions()
    store.materialize(START, END)
    assert (warehouse.online(store), versions()) == before


def test_an_older_window_after_a_newer_one_fills_gaps_and_replaces_nothing(
    warehouse: Warehouse,
) -> None:
    warehouse.fee("ada", 1.0, JANUARY)
    warehouse.fee("ada", 2.0, FEBRUARY)
    warehouse.fee("bob", 1.0, JANUARY)
    store = applied(warehouse.store(), profile())
    store.materialize(FEBRUARY, END)
    assert fees(store, "ada", "bob") == [2.0, None]
    store.materialize(START, JANUARY)
    assert fees(store, "ada", "bob") == [2.0, 1.0]


def test_negative_zero_replaces_zero(warehouse: Warehouse) -> None:
    warehouse.fee("ada", 0.0, JANUARY, DELIVERED)
    store = applied(warehouse.store(), profile())
    store.materialize(START, END)
    warehouse.execute(f"UPDATE {warehouse.schema}.profile SET fee = '-0'")
    store.materialize(START, END)
    assert math.copysign(1, fees(store, "ada")[0]) == -1


def test_of_rows_that_nothing_tells_apart_but_their_values_the_same_one_wins_each_time(
    warehouse: Warehouse,
) -> None:
    rows = [
        ("ada", fee, None, plan, None, None, None, JANUARY, DELIVERED)
        for fee in (1.0, 2.0, None, math.nan)
        for plan in (None, False, True)
    ]
    winners = []
    for order in (rows, rows[::-1], rows[5:] + rows[:5]):
        warehouse.execute(f"TRUNCATE {warehouse.schema}.profile")
        warehouse.insert(*order)
        store = applied(warehouse.store(), profile({"fee": Float64, "plan": Bool}))
        store.materialize(START, END)
        winners.append(repr(warehouse.online(store)))
    assert len(set(winners)) == 1


def test_what_is_served_is_what_a_training_set_holds(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    columns = {
        "flag": (Bool, "n % 2 = 0"),
        "small": (Int32, "n::int2"),
        "whole": (Int32, "-n"),
        "large": (Int64, "9007199254740993 + n"),
        "short": (Float32, "(n / 3.0)::float4"),
        "double": (Float64, "(n / 3.0)::float8"),
        "exact": (Float64, "n / 7.0"),
        "name": (String, "'ünï ' || n"),
        "short_name": (String, "n::varchar(5)"),
        "photo": (Bytes, "decode(md5(n::text), 'hex')"),
        "seen": (UnixTimestamp, "date_trunc('second', now()) - n * interval '9999 hours'"),
        "noted": (UnixTimestamp, "timestamp '1969-12-31 23:59:59' + n * interval '1 second'"),
        "born": (UnixTimestamp, "date '1950-01-01' + n"),
    }
    others = {
        "numbers": (Array(Int64), "ARRAY[n, -n]::int8[]"),
        "fees": (Array(Float64), "ARRAY[n / 3.0]"),
        "tags": (Array(String), "ARRAY[n::text, '']"),
        "device": (Uuid, "md5(n::text)::uuid"),
    }
    for name, kinds in {"native": columns, "others": others}.items():
        values = ", ".join(
            f"CASE WHEN n % 7 <> {number % 7} THEN {value} END AS {column}"
            for number, (column, (_, value)) in enumerate(kinds.items())
        )
        warehouse.execute(
            f"CREATE TABLE {warehouse.schema}.{name} AS SELECT 'user' || n AS user_id, {values}, "
            f"timestamptz '{JANUARY}' AS event_timestamp, timestamptz '{DELIVERED}' AS recorded_at "
            "FROM generate_series(1, 200) AS n"
        )
        types = {column: dtype for column, (dtype, _) in kinds.items()}
        store = applied(warehouse.store(), profile(types, name=name, query=f"SELECT * FROM {name}"))
        store.materialize(START, END)
        assert fallback_reasons(caplog) == []
        features = [f"{name}:{column}" for column in kinds]
        users = [f"user{n}" for n in range(1, 201)]
        entity_rows = (
            "SELECT 'user' || n AS user_id, now() AS event_timestamp FROM generate_series(1, 200) n"
        )
        trained = store.get_historical_features(entity_rows, features).to_arrow().to_pylist()
        served = store.get_online_features(features, {"user_id": users}).to_dict()
        by_user = {row["user_id"]: row for row in trained}
        for column in kinds:
            expected = [comparable(by_user[user][column]) for user in users]
            assert [comparable(value) for value in served[column]] == expected, column
            assert sum(value is None for value in expected) in (28, 29), column


def comparable(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)  # offline without a time zone, in UTC
    return str(value) if isinstance(value, UUID) else value


def test_mapped_columns_composite_keys_and_queries(warehouse: Warehouse) -> None:
    warehouse.execute(
        f'CREATE TABLE {warehouse.schema}.orders ("User %s" text, shop int4, "Amount" float4, '
        '"At" timestamp, "Known" timestamp)'
    )
    warehouse.execute(
        f"INSERT INTO {warehouse.schema}.orders VALUES (%s, %s, %s, %s, %s)",
        *[("a1", 1, 0.5, "2024-01-31", "2024-02-01"), ("a", 11, 1.5, "2024-01-31", "2024-02-01")],
    )
    shop = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.INT64)
    view = profile(
        {"amount": Float64},
        entities=[USER, shop],
        schema=[
            Field(name="shop_id", dtype=Int64),
            Field(name="user_id", dtype=String),
            Field(name="amount", dtype=Float64),
        ],
        query="SELECT * FROM orders",
        timestamp_field="at",
        created_timestamp_column="known",
        field_mapping={
            "User %s": "user_id",
            "shop": "shop_id",
            "Amount": "amount",
            "At": "at",
            "Known": "known",
        },
    )
    store = warehouse.store()
    store.apply([USER, shop, view])
    store.materialize(START, END)
    rows = [{"user_id": user, "shop_id": shop} for user, shop in [("a", 11), ("a1", 1), ("a1", 11)]]
    assert store.get_online_features(["profile:amount"], rows).to_dict()["amount"] == [
        1.5,
        0.5,
        None,
    ]


def test_a_view_without_entities_has_one_row(warehouse: Warehouse) -> None:
    warehouse.fee("ignored", 1.0, JANUARY)
    warehouse.fee("ignored too", 2.0, FEBRUARY)
    fee = [Field(name="fee", dtype=Float64)]
    store = applied(warehouse.store(), profile(entities=[], schema=fee))
    store.materialize(START, END)
    assert fees(store, "anybody") == [2.0]
    assert len(warehouse.online(store)) == 1


@pytest.mark.parametrize("entities", [[USER], []], ids=["entity", "without entities"])
def test_a_stream_view_is_materialized_in_the_database_as_a_feature_view_is(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture, entities: list[Entity]
) -> None:
    caplog.set_level(logging.INFO)
    warehouse.insert(*random_rows(5, 100))
    plain = profile(entities=entities)
    view = StreamFeatureView(
        name="profile",
        entities=entities,
        schema=plain.schema,
        source=PushSource(name="pushed", batch_source=plain.batch_source),
        timestamp_field="event_timestamp",
        ttl=timedelta(0),
    )
    rows = []
    for one in (view, plain):
        store = applied(warehouse.store(), one)
        store.materialize(START, END)
        rows.append([sorted(map(repr, row)) for row in warehouse.online(store)])
    assert rows[0] == rows[1] != []
    assert fallback_reasons(caplog) == []


def test_a_view_without_entities_is_materialized_by_feasts_engine_too(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    warehouse.fee("ignored", 1.0, JANUARY)
    fields = [Field(name="tags", dtype=Json)]
    query = "SELECT *, '{}'::text AS tags FROM profile"
    store = applied(warehouse.store(), profile(entities=[], schema=fields, query=query))
    store.materialize(START, END)
    response = store.get_online_features(["profile:tags"], [{"user_id": "x"}])
    assert response.to_dict()["tags"] == [{}]
    assert len(fallback_reasons(caplog)) == 1


def test_each_version_of_a_view_is_materialized_into_its_own_table(warehouse: Warehouse) -> None:
    warehouse.insert(("ada", 1.5, 3, *[None] * 4, JANUARY, DELIVERED))
    store = applied(warehouse.store(versions=True), profile({"fee": Float64}))
    applied(store, profile({"fee": Int64, "months": Int64}))
    for version in ("v0", "v1"):
        store.materialize(START, END, ["profile"], version=version)
    features = ["profile@v0:fee", "profile@v1:fee", "profile@v1:months"]
    response = store.get_online_features(features, [{"user_id": "ada"}], full_feature_names=True)
    assert response.to_dict() == {
        "user_id": ["ada"],
        "profile@v0__fee": [1.5],
        "profile@v1__fee": [1],
        "profile@v1__months": [3],
    }


def test_a_failing_view_raises_and_leaves_no_row_and_the_others_are_materialized(
    warehouse: Warehouse,
) -> None:
    warehouse.fee("ada", 1.0, JANUARY)
    warehouse.insert((None, 1.0, *[None] * 5, JANUARY, DELIVERED))
    whole = profile(name="whole", query="SELECT * FROM profile WHERE user_id = 'ada'")
    store = warehouse.store()
    store.apply([USER, profile(), whole])
    with pytest.raises(psycopg.errors.NotNullViolation, match="user_id"):
        store.materialize(START, END, ["profile", "whole"])
    assert warehouse.online(store) == []
    assert len(warehouse.online(store, "whole")) == 1
    assert store.get_feature_view("profile").materialization_intervals == []
    assert len(store.get_feature_view("whole").materialization_intervals) == 1


def test_a_moment_that_feast_cannot_hold_is_named(warehouse: Warehouse) -> None:
    warehouse.insert(("ada", *[None] * 5, "infinity", JANUARY, DELIVERED))
    store = applied(warehouse.store(), profile())
    with pytest.raises(ValueError, match="'born' has moments before year 1 or after 9999"):
        store.materialize(START, END)


def test_a_session_that_ended_half_way_leaves_no_row(warehouse: Warehouse) -> None:
    warehouse.execute(
        f"INSERT INTO {warehouse.schema}.profile (user_id, fee, event_timestamp, recorded_at) "
        f"SELECT n, n, '{JANUARY}', '{DELIVERED}' FROM generate_series(1, 100) AS n"
    )
    slow = (
        "SELECT user_id, fee, CASE WHEN fee = 50 THEN pg_sleep(20)::text END AS city, "
        "event_timestamp, recorded_at FROM profile"
    )
    view = profile({"fee": Float64, "city": String}, query=slow)
    store = applied(warehouse.store(), view)
    failed: list[BaseException] = []

    def materialize() -> None:
        try:
            store.materialize(START, END)
        except psycopg.OperationalError as error:
            failed.append(error)

    thread = threading.Thread(target=materialize)
    thread.start()
    while thread.is_alive():  # the store tries once more; that ends as well
        cut_connections(warehouse.url)
        thread.join(0.05)
    assert failed
    assert warehouse.online(store) == []
    quick = profile({"fee": Float64, "city": String}, query=slow.replace("pg_sleep(20)", "now()"))
    applied(store, quick).materialize(START, END)
    assert len(warehouse.online(store)) == 100


def test_another_writer_waits_while_an_empty_table_is_filled_and_the_newest_stays(
    warehouse: Warehouse,
) -> None:
    warehouse.fee("ada", 1.0, JANUARY)
    store = applied(warehouse.store(), profile({"fee": Float64}))
    online = store.provider.online_store
    table = sql.Identifier(warehouse.schema, f"{store.project}.profile")
    with psycopg.connect(warehouse.url) as other:
        other.execute(
            sql.SQL("INSERT INTO {} (user_id, event_timestamp, fee) VALUES ('ada', %s, 2)").format(
                table
            ),
            [FEBRUARY],
        )
        thread = threading.Thread(target=store.materialize, args=(START, END))
        thread.start()  # finds the table empty, and waits for the lock
        thread.join(0.2)
        assert thread.is_alive()
    thread.join()
    assert fees(store, "ada") == [2.0]
    assert online is store.provider.online_store


def test_many_rows_take_no_memory_here_and_no_more_than_work_mem_in_the_database(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement does it, without chunks: no row passes through this process, and the database
    sorts on disk what doesn't fit into `work_mem`."""

    def rows(first: int, last: int) -> None:
        warehouse.execute(
            f"INSERT INTO {warehouse.schema}.profile (user_id, fee, event_timestamp, recorded_at) "
            f"SELECT md5(n::text), n, '{JANUARY}', '{DELIVERED}' "
            f"FROM generate_series({first}, {last}) AS n"
        )

    def spilled() -> int:
        with psycopg.connect(warehouse.url) as connection:
            query = "SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()"
            row = connection.execute(query).fetchone()
            assert row is not None
            return int(row[0])

    monkeypatch.setitem(engine._SESSION, "work_mem", "64kB")
    store = applied(warehouse.store(), profile({"fee": Float64}))
    rows(1, 10)
    store.materialize(START, END)  # imports what's needed
    peaks = []
    before = spilled()
    for first, last in [(11, 1_000), (1_001, 20_000)]:
        rows(first, last)
        tracemalloc.start()
        store.materialize(START, END)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len(warehouse.online(store)) == 20_000
    assert max(peaks) < 2**20
    asyncio.run(store.provider.online_store.close())  # a session reports its statistics at its end
    deadline = time.monotonic() + 10
    while spilled() - before < 20_000 * 32 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert spilled() - before >= 20_000 * 32


def fallback_reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("feast_po")]


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (
            profile({"tags": Json}, query="SELECT *, '{}'::text AS tags FROM profile"),
            "column 'tags' is text, for a feature of JSON",
        ),
        (
            profile({"tag": String}, query="SELECT *, ARRAY['a'] AS tag FROM profile"),
            "column 'tag' is",
        ),
        (profile({"plan": Int64}), "column 'plan' is bool, for a feature of INT64"),
        (profile({"fee": Float64}, enable_validation=True), "it has enable_validation"),
    ],
    ids=["JSON", "array for text", "boolean for integer", "validation"],
)
def test_what_the_database_cannot_do_alone_goes_through_feasts_local_engine(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture, view: FeatureView, reason: str
) -> None:
    caplog.set_level(logging.INFO)
    warehouse.insert(("ada", 1.0, 1, True, "x", b"x", JANUARY, JANUARY, DELIVERED))
    store = applied(warehouse.store(), view)
    store.materialize(START, END)
    assert reason in "".join(fallback_reasons(caplog))
    assert [row[0] for row in warehouse.online(store)] == ["ada"]


def test_another_database_goes_through_feasts_local_engine(
    warehouse: Warehouse, new_database: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    warehouse.fee("ada", 1.0, JANUARY)
    store = warehouse.store()
    store.config.online_store.database = server_of(new_database())["database"]
    applied(store, profile({"fee": Float64})).materialize(START, END)
    assert "offline and online store differ in database" in "".join(fallback_reasons(caplog))
    assert fees(store, "ada") == [1.0]


def test_views_that_stay_in_the_database_log_nothing(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    applied(warehouse.store(), profile()).materialize(START, END)
    assert fallback_reasons(caplog) == []


def test_its_name_alone_configures_the_engine(warehouse: Warehouse) -> None:
    configured = warehouse.store().config.batch_engine
    assert configured.type == "feast_postgres.PostgresEngine"
    assert configured.backend is None
