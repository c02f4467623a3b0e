"""Feast's Spark store with what was known at a moment, over Parquet files, on a real cluster."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.spark.cluster import Cluster, Gate

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

START = datetime(2024, 1, 1, tzinfo=UTC)
KEYS = ["a", "B", "é", "z", "it's", "back\\slash", "𝄞", "￿", "ab", "A"]
VALUES = [0.1, -0.0, math.nan, math.inf, None, 1e-310, 2.0**60 + 256]
KNOWN_AT = START + timedelta(days=30)
TTL = timedelta(days=20)
FEATURES = ["fees_fv:fee", "fees_fv:months", "fees_fv:plan", "visits_fv:visits"]

Row = Mapping[str, Any]


def rows_of(random: Random, count: int) -> list[dict[str, Any]]:
    """Rows with distinct keys and times, in no order."""
    made: dict[object, dict[str, Any]] = {}
    for _ in range(count):
        moment = START + timedelta(days=random.randrange(60), microseconds=random.randrange(3))
        recorded = moment + timedelta(days=random.randrange(3))
        row = {
            "user": random.choice(KEYS),
            "site": random.choice(["1", "11"]),
            "event_timestamp": moment,
            "recorded_at": recorded,
            "ingestion_id": random.randrange(4),
            "fee": random.choice(VALUES),
            "months": random.choice([None, 2**53 + 1, -3]),
            "plan": random.choice([True, False, None]),
        }
        made[row["user"], row["site"], moment, recorded] = row
    return [*made.values()]


@pytest.fixture(scope="module")
def fees() -> list[dict[str, Any]]:
    return rows_of(Random(1), 400)


@pytest.fixture(scope="module")
def visits() -> list[dict[str, Any]]:
    distinct = {(row["user"], row["event_timestamp"]): row for row in rows_of(Random(2), 40)}
    names = ("user", "event_timestamp", "recorded_at")
    return [
        {name: row[name] for name in names} | {"how often": row["months"]}
        for row in distinct.values()
    ]


OpenStore = Callable[..., "FeatureStore"]


@pytest.fixture(scope="module")
def open_store(
    spark: SparkSession,
    cluster: Cluster,
    fees: list[dict[str, Any]],
    visits: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> OpenStore:
    from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
    from feast.types import Bool, Float64, Int64, String

    folder = tmp_path_factory.mktemp("store")
    for name, rows in (("fees", fees), ("visits", visits)):
        path = folder / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
        spark.read.parquet(str(path)).createOrReplaceTempView(name)

    user = Entity(name="user", join_keys=["user"], value_type=ValueType.STRING)
    site = Entity(name="site", join_keys=["site"], value_type=ValueType.STRING)
    times = {"timestamp_field": "event_timestamp", "created_timestamp_column": "recorded_at"}
    fees_view = FeatureView(
        name="fees_fv",
        entities=[user, site],
        ttl=TTL,
        schema=[
            Field(name="user", dtype=String),
            Field(name="site", dtype=String),
            Field(name="fee", dtype=Float64),
            Field(name="months", dtype=Int64),
            Field(name="plan", dtype=Bool),
        ],
        source=SparkSource(name="fees", table="fees", **times),
    )
    visits_view = FeatureView(
        name="visits_fv",
        entities=[user],
        schema=[Field(name="user", dtype=String), Field(name="visits", dtype=Int64)],
        source=SparkSource(
            name="visits", table="visits", field_mapping={"how often": "visits"}, **times
        ),
    )

    def opened(**offline: Any) -> FeatureStore:
        config = RepoConfig(
            project="shop",
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store={
                "type": "feast_spark.SparkOfflineStore",
                "remote": cluster.url,
                **offline,
            },
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
        return FeatureStore(config=config)

    opened().apply([user, site, fees_view, visits_view])
    return opened


def newest(
    rows: list[dict[str, Any]], entity: Row, keys: list[str], ttl: timedelta | None
) -> dict[str, Any]:
    """What the join should find, said in Python."""
    moment = entity["event_timestamp"]
    found = [
        row
        for row in rows
        if all(row[key] == entity[key] for key in keys)
        and row["event_timestamp"] <= moment
        and (ttl is None or row["event_timestamp"] >= moment - ttl)
    ]
    return max(found, key=lambda row: (row["event_timestamp"], row["recorded_at"]), default={})


def expected(
    entities: list[Row], fees: list[dict[str, Any]], visits: list[dict[str, Any]]
) -> set[Any]:
    found = set()
    for entity in entities:
        fee = newest(fees, entity, ["user", "site"], TTL)
        visit = newest(visits, entity, ["user"], None)
        values = [fee.get("fee"), fee.get("months"), fee.get("plan"), visit.get("how often")]
        found.add(exact([entity["user"], entity["site"], entity["event_timestamp"], *values]))
    return found


def exact(values: list[Any]) -> tuple[Any, ...]:
    """Values that are equal only to the last bit."""
    return tuple(struct.pack("d", one) if isinstance(one, float) else one for one in values)


def found_in(table: pa.Table) -> set[Any]:
    columns = ["user", "site", "event_timestamp", "fee", "months", "plan", "visits"]
    assert table.schema.field("event_timestamp").type == pa.timestamp("us")
    rows = [
        exact([one if not isinstance(one, datetime) else one.replace(tzinfo=UTC) for one in row])
        for row in zip(*(table[name].to_pylist() for name in columns), strict=True)
    ]
    assert len(set(rows)) == len(rows)
    return set(rows)


@pytest.fixture(scope="module")
def entities() -> list[Row]:
    random = Random(3)
    moments = [START + timedelta(days=day) for day in (0, 15, 30, 59)]
    rows = [
        {"user": user, "site": site, "event_timestamp": moment}
        for user in [*KEYS, "unknown"]
        for site in ("1", "11")
        for moment in moments
    ]
    random.shuffle(rows)
    return rows


def query_of(entities: list[Row]) -> str:
    def text(value: str) -> str:
        return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"

    rows = ", ".join(
        f"({text(one['user'])}, {text(one['site'])}, "
        f"TIMESTAMP '{one['event_timestamp'].isoformat(sep=' ')}')"
        for one in entities
    )
    return f"SELECT * FROM VALUES {rows} AS entities (user, site, event_timestamp)"


def test_a_query_of_entity_rows_is_joined_to_the_last_bit(
    open_store: OpenStore,
    fees: list[dict[str, Any]],
    visits: list[dict[str, Any]],
    entities: list[Row],
) -> None:
    job = open_store().get_historical_features(query_of(entities), FEATURES)
    assert found_in(job.to_arrow()) == expected(entities, fees, visits)


def test_a_frame_of_entity_rows_is_joined_as_a_query_is(
    open_store: OpenStore,
    fees: list[dict[str, Any]],
    visits: list[dict[str, Any]],
    entities: list[Row],
) -> None:
    frame = pa.Table.from_pylist(entities).to_pandas()
    job = open_store().get_historical_features(frame, FEATURES)
    assert found_in(job.to_arrow()) == expected(entities, fees, visits)


@pytest.mark.parametrize("known", [KNOWN_AT, START + timedelta(days=16)])
def test_what_came_later_or_does_not_meet_the_condition_is_not_joined(
    open_store: OpenStore,
    fees: list[dict[str, Any]],
    visits: list[dict[str, Any]],
    entities: list[Row],
    known: datetime,
) -> None:
    store = open_store(known_at=known, conditions={"fees": "known.ingestion_id <> 2"})
    job = store.get_historical_features(query_of(entities), FEATURES)
    counts = [row for row in fees if row["recorded_at"] <= known and row["ingestion_id"] != 2]
    come = [row for row in visits if row["recorded_at"] <= known]
    assert found_in(job.to_arrow()) == expected(entities, counts, come)
    assert expected(entities, counts, come) != expected(entities, fees, visits)


def test_a_known_moment_of_all_rows_changes_nothing(
    open_store: OpenStore,
    fees: list[dict[str, Any]],
    visits: list[dict[str, Any]],
    entities: list[Row],
) -> None:
    from feast_spark.offline import SparkOfflineStore

    store, moment = open_store(), START + timedelta(days=30)
    of_moment = [one for one in entities if one["event_timestamp"] == moment]
    views = [store.get_feature_view(name) for name in ("fees_fv", "visits_fv")]
    arguments = (store.config, views, FEATURES, query_of(of_moment), store.registry, store.project)
    job = SparkOfflineStore.get_historical_features(*arguments, moment=moment)
    assert found_in(job.to_arrow()) == expected(of_moment, fees, visits)


def test_batches_ascend_by_the_bytes_of_the_entity(
    open_store: OpenStore, entities: list[Row]
) -> None:
    job = open_store().get_historical_features(query_of(entities), FEATURES)
    none, *batches = job.record_batches(ordered_by=["user"])
    assert none.num_rows == 0
    users = [user for batch in batches for user in batch.column("user").to_pylist()]
    assert users == sorted((one["user"] for one in entities), key=str.encode)
    assert all(batch.schema == none.schema for batch in batches)
    assert found_in(pa.Table.from_batches(batches)) == found_in(job.to_arrow())


def test_a_source_that_names_no_created_time_cannot_be_cut(open_store: OpenStore) -> None:
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    from feast_spark.offline import without_later_rows

    store = open_store(known_at=KNOWN_AT)
    source = SparkSource(name="bare", table="fees", timestamp_field="event_timestamp")
    with pytest.raises(ValueError, match="has no created_timestamp_column"):
        without_later_rows(store.config, source)


def test_a_worker_that_is_killed_in_the_middle_of_a_join_changes_nothing(
    open_store: OpenStore,
    spark: SparkSession,
    cluster: Cluster,
    gate: Gate,
    entities: list[Row],
) -> None:
    before = open_store().get_historical_features(query_of(entities), FEATURES).to_arrow()
    rows = spark.sql(query_of(entities)).repartition(4)
    gate.in_front_of(rows).createOrReplaceTempView("gated")
    with cluster.killing_a_worker(gate) as killed:
        found = open_store().get_historical_features("SELECT * FROM gated", FEATURES).to_arrow()
    assert killed in (["first"], ["second"])
    assert found_in(found) == found_in(before)


def test_the_newest_row_of_each_entity_is_pulled_as_of_what_was_known(
    open_store: OpenStore, fees: list[dict[str, Any]]
) -> None:
    from feast_spark.offline import SparkOfflineStore

    store = open_store(known_at=KNOWN_AT)
    view = store.get_feature_view("fees_fv")
    end = START + timedelta(days=40)
    times = ("event_timestamp", "recorded_at", START, end)
    pulled = SparkOfflineStore.pull_latest_from_table_or_query(
        store.config, view.batch_source, ["user", "site"], ["fee"], *times
    ).to_arrow()
    newest_rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in sorted(fees, key=lambda row: (row["event_timestamp"], row["recorded_at"])):
        if row["event_timestamp"] <= end and row["recorded_at"] <= KNOWN_AT:
            newest_rows[row["user"], row["site"]] = row
    found = {exact([row["user"], row["site"], row["fee"]]) for row in pulled.to_pylist()}
    assert found == {exact([*key, row["fee"]]) for key, row in newest_rows.items()}
