"""The offline store: Feast's own, with exact types, and without rows created after `known_at`."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
    PostgreSQLSource,
)
from feast.types import Bool, Float64, Int64, String
from psycopg import sql
from tests.feast_stores import server_of

JANUARY = datetime(2024, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
DELIVERED = datetime(2024, 2, 3, 6, tzinfo=UTC)
CORRECTED = datetime(2024, 2, 20, 6, tzinfo=UTC)
WINDOW = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))
FEATURES = ["profile:fee", "profile:months", "profile:plan"]


@pytest.fixture
def schema(database_url: str) -> Iterator[str]:
    name = f"offline_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(database_url) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        connection.execute(
            sql.SQL(
                "CREATE TABLE {} (user_id text, fee float8, months bigint, plan boolean, "
                'event_timestamp timestamptz, "Recorded at" timestamptz)'
            ).format(sql.Identifier(name, "profile"))
        )
        connection.cursor().executemany(
            sql.SQL("INSERT INTO {} VALUES (%s, %s, %s, %s, %s, %s)").format(
                sql.Identifier(name, "profile")
            ),
            [
                ("ada", 45.25, 1, True, JANUARY, DELIVERED),
                ("ada", 0.1 + 0.2, 2**53 + 1, None, JANUARY, CORRECTED),
                ("bob", float("nan"), None, False, JANUARY, DELIVERED),
                ("new", -0.0, 3, True, JANUARY, CORRECTED),
            ],
        )
    yield name
    with psycopg.connect(database_url) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


Opened = Callable[..., FeatureStore]


@pytest.fixture
def opened(database_url: str, schema: str, tmp_path: Path) -> Opened:
    """Feast with our offline store, and a view `profile` of the table of that name."""

    def open_store(
        known_at: Any = None, created: str = "Recorded at", query: str | None = None
    ) -> FeatureStore:
        server = {"db_schema": schema, **server_of(database_url)}
        store = FeatureStore(
            config=RepoConfig(
                project="churn",
                provider="local",
                registry={"registry_type": "file", "path": str(tmp_path / "registry.db")},
                offline_store={
                    "type": "feast_postgres.PostgresOfflineStore",
                    "known_at": known_at,
                    **server,
                },
                online_store={"type": "feast_postgres.PostgresOnlineStore", **server},
                entity_key_serialization_version=3,
            )
        )
        user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
        source = PostgreSQLSource(
            name="profile_source",
            table=None if query else "profile",
            query=query,
            timestamp_field="event_timestamp",
            created_timestamp_column=created,
        )
        view = FeatureView(
            name="profile",
            entities=[user],
            schema=[
                Field(name="user_id", dtype=String),
                Field(name="fee", dtype=Float64),
                Field(name="months", dtype=Int64),
                Field(name="plan", dtype=Bool),
            ],
            source=source,
            ttl=timedelta(0),
        )
        store.apply([user, view])
        return store

    return open_store


def entities(*users: str, at: datetime = JANUARY) -> str:
    rows = ", ".join(f"('{user}', '{at.isoformat()}'::timestamptz)" for user in users)
    return f"SELECT * FROM (VALUES {rows}) AS entities (user_id, event_timestamp)"


def fees(store: FeatureStore, entity_df: Any = None, **arguments: Any) -> dict[str, float | None]:
    if entity_df is None:
        entity_df = entities("ada", "new")
    table = store.get_historical_features(entity_df, FEATURES, **arguments).to_arrow()
    return dict(zip(table["user_id"].to_pylist(), table["fee"].to_pylist(), strict=True))


def test_a_training_set_holds_what_was_known_and_nothing_later(opened: Opened) -> None:
    assert fees(opened(known_at=DELIVERED)) == {"ada": 45.25, "new": None}
    assert fees(opened(known_at=CORRECTED)) == {"ada": 0.1 + 0.2, "new": 0.0}
    assert fees(opened(known_at=DELIVERED - timedelta(microseconds=1))) == {
        "ada": None,
        "new": None,
    }


def test_without_known_at_everything_known_by_now_is_included(opened: Opened) -> None:
    assert fees(opened()) == {"ada": 0.1 + 0.2, "new": 0.0}


def test_the_cut_may_be_given_in_any_time_zone_or_as_text(opened: Opened) -> None:
    for known_at in ("2024-02-03T06:00:00Z", "2024-02-03T15:00:00+09:00"):
        assert fees(opened(known_at=known_at)) == {"ada": 45.25, "new": None}


def test_filter_by_created_timestamp_alone_would_hide_every_month_that_arrived_after_it_ended(
    opened: Opened,
) -> None:
    assert fees(opened(), filter_by_created_timestamp=True) == {"ada": None, "new": None}
    assert fees(opened(known_at=DELIVERED)) == {"ada": 45.25, "new": None}


def test_a_source_that_is_a_query_is_cut_as_well(opened: Opened) -> None:
    query = "SELECT * FROM profile WHERE user_id <> 'bob'"
    assert fees(opened(known_at=DELIVERED, query=query)) == {"ada": 45.25, "new": None}


def test_a_frame_of_entities_gives_the_same_and_leaves_no_table(
    opened: Opened, schema: str, database_url: str
) -> None:
    frame = pd.DataFrame({"user_id": ["ada", "new"], "event_timestamp": [JANUARY, JANUARY]})
    assert fees(opened(known_at=DELIVERED), frame) == {"ada": 45.25, "new": None}
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename LIKE %s",
            [schema, "feast_entity%"],
        ).fetchall()
    assert tables == []


def test_a_query_of_entities_never_makes_a_table(opened: Opened) -> None:
    job = opened().get_historical_features(entities("ada"), FEATURES)
    assert "VALUES ('ada'" in job.to_sql()


def test_the_cut_is_fixed_when_the_job_is_made(opened: Opened) -> None:
    store = opened(known_at=DELIVERED)
    job = store.get_historical_features(entities("ada"), FEATURES)
    store.config.offline_store.known_at = None
    assert job.to_arrow()["fee"].to_pylist() == [45.25]
    assert fees(store) == {"ada": 0.1 + 0.2, "new": 0.0}


def test_the_views_of_the_registry_are_left_as_they_were(opened: Opened) -> None:
    store = opened(known_at=DELIVERED)
    view = store.get_feature_view("profile")
    before = view.to_proto().SerializeToString(deterministic=True)
    offline = store.provider.offline_store
    offline.get_historical_features(
        store.config, [view], FEATURES, entities("ada"), store.registry, "churn"
    ).to_arrow()
    assert view.to_proto().SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    "pull", ["pull_latest_from_table_or_query", "pull_all_from_table_or_query"]
)
def test_what_is_pulled_for_materialization_is_cut(opened: Opened, pull: str) -> None:
    store = opened(known_at=DELIVERED)
    job = getattr(store.provider.offline_store, pull)(
        config=store.config,
        data_source=store.get_feature_view("profile").batch_source,
        join_key_columns=["user_id"],
        feature_name_columns=["fee"],
        timestamp_field="event_timestamp",
        created_timestamp_column="Recorded at",
        start_date=WINDOW[0],
        end_date=WINDOW[1],
    )
    assert sorted(job.to_arrow()["user_id"].to_pylist()) == ["ada", "bob"]


def test_what_is_served_after_materialization_was_known_by_then(opened: Opened) -> None:
    rows = [{"user_id": "ada"}, {"user_id": "new"}, {"user_id": "bob"}]
    for known_at, expected in [
        (DELIVERED, {"fee": [45.25, None, None], "plan": [True, None, False]}),
        (CORRECTED, {"fee": [0.1 + 0.2, 0.0, None], "plan": [None, True, False]}),
        (DELIVERED, {"fee": [0.1 + 0.2, 0.0, None], "plan": [None, True, False]}),
    ]:
        store = opened(known_at=known_at)
        store.materialize(*WINDOW)
        served = store.get_online_features(FEATURES, rows).to_dict()
        assert {name: served[name] for name in expected} == expected


def test_a_source_without_created_timestamp_is_an_error(opened: Opened) -> None:
    store = opened(known_at=DELIVERED, created="")
    with pytest.raises(ValueError, match=r"'profile_source' has no created_timestamp_column"):
        fees(store)
    with pytest.raises(ValueError, match=r"'profile_source' has no created_timestamp_column"):
        store.materialize(*WINDOW)


def test_a_known_at_without_time_zone_is_an_error(opened: Opened) -> None:
    naive = DELIVERED.replace(tzinfo=None)
    with pytest.raises(ValueError, match="timezone"):
        opened(known_at=naive)
    store = opened(known_at=DELIVERED)
    store.config.offline_store.known_at = naive
    with pytest.raises(ValueError, match="no time zone"):
        fees(store)


@pytest.mark.parametrize("ignoring", ["", "1"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_values_arrive_with_type_and_to_the_last_bit(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, zone: str, ignoring: str
) -> None:
    monkeypatch.setenv("PGTZ", zone)  # the time zone of sessions, whatever the server's
    monkeypatch.setenv("PYARROW_IGNORE_TIMEZONE", ignoring)  # as pandera sets it
    job = opened().get_historical_features(entities("ada", "bob", "new", "nobody"), FEATURES)
    table = job.to_arrow().sort_by("user_id")
    assert table["user_id"].to_pylist() == ["ada", "bob", "new", "nobody"]
    assert str(table.schema.field("fee").type) == "double"
    assert [None if v is None else struct.pack("<d", v) for v in table["fee"].to_pylist()] == [
        struct.pack("<d", 0.1 + 0.2),
        struct.pack("<d", float("nan")),
        struct.pack("<d", -0.0),
        None,
    ]
    assert str(table.schema.field("months").type) == "int64"
    assert table["months"].to_pylist() == [2**53 + 1, None, 3, None]
    assert str(table.schema.field("plan").type) == "bool"
    assert table["plan"].to_pylist() == [None, False, True, None]
    assert table["event_timestamp"].to_pylist() == [JANUARY.replace(tzinfo=None)] * 4
    frame = job.to_df().sort_values("user_id")
    assert frame["months"].dtype == "Int64"
    assert frame["months"].tolist()[0] == 2**53 + 1
    assert frame["plan"].tolist() == [None, False, True, None]


def test_columns_that_arrow_does_not_take_as_they_are_come_as_feasts_types(opened: Opened) -> None:
    query = (
        "SELECT user_id, 1.25::numeric AS fee, CASE WHEN user_id = 'ada' THEN 'NaN'::numeric END "
        "AS months, date '2024-01-31' AS plan, event_timestamp, \"Recorded at\" FROM profile"
    )
    table = opened(query=query).get_historical_features(entities("ada", "bob"), FEATURES).to_arrow()
    ada, bob = table.sort_by("user_id").to_pylist()
    assert (ada["fee"], ada["plan"]) == (1.25, datetime(2024, 1, 31))  # noqa: DTZ001
    assert ada["months"] != ada["months"]
    assert bob["months"] is None


def test_identifiers_and_arrays_of_such_columns_come_as_feasts_types(opened: Opened) -> None:
    query = (
        "SELECT user_id, md5(user_id)::uuid AS fee, ARRAY[1.5, NULL]::numeric[] AS months, "
        'ARRAY[md5(user_id)]::uuid[] AS plan, event_timestamp, "Recorded at" FROM profile'
    )
    table = opened(query=query).get_historical_features(entities("ada"), FEATURES).to_arrow()
    [ada] = table.to_pylist()
    assert str(uuid.UUID(ada["fee"])) == ada["fee"]
    assert ada["plan"] == [ada["fee"]]
    assert ada["months"] == [1.5, None]


def test_an_error_of_the_query_is_psycopgs_and_doesnt_quote_the_query(opened: Opened) -> None:
    query = (
        "SELECT user_id, (1 / (months - months))::float8 AS fee, months, plan, event_timestamp, "
        '"Recorded at" FROM profile'
    )
    job = opened(query=query).get_historical_features(entities("ada"), FEATURES)
    with pytest.raises(psycopg.DatabaseError, match="division by zero") as raised:
        job.to_arrow()
    assert "SELECT" not in str(raised.value)
