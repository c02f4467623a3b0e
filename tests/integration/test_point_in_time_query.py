"""The point-in-time join has the rows that Feast's own query has, whatever the tables hold."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
    PostgreSQLSource,
)
from feast.types import Int64, String
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql
from tests.feast_stores import server_of

from feast_postgres.offline import PostgresOfflineStore

START = datetime(2024, 1, 1, tzinfo=UTC)
hours = st.integers(0, 6).map(lambda number: START + timedelta(hours=number))
users, shops = st.sampled_from(["a", "b", None]), st.sampled_from(["x", "y"])
visits = st.lists(st.tuples(users, hours, st.none() | hours, st.none() | st.integers(0, 9)))
orders = st.lists(st.tuples(users, shops, hours, st.integers(0, 9)))
asked = st.lists(st.tuples(users, shops, hours), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def stores(
    database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, FeatureStore]]:
    """Feast with our offline store and with its own, over the same two tables."""
    schema = f"joined_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(database_url) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        for table, columns in (
            ("visits", "user_id text, at timestamptz, created timestamptz, n bigint"),
            ("orders", "user_id text, shop_id text, at timestamptz, bought bigint"),
        ):
            connection.execute(f"CREATE TABLE {schema}.{table} ({columns})")  # type: ignore[arg-type]
    server = {"db_schema": schema, **server_of(database_url)}
    folder = tmp_path_factory.mktemp("stores")
    kinds = {"ours": "feast_postgres.PostgresOfflineStore", "theirs": "postgres"}
    opened = {name: _opened(name, kind, server, folder) for name, kind in kinds.items()}
    yield opened
    with psycopg.connect(database_url) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def _opened(name: str, kind: str, server: dict[str, Any], folder: Path) -> FeatureStore:
    store = FeatureStore(
        config=RepoConfig(
            project="joined",
            provider="local",
            registry={"registry_type": "file", "path": str(folder / f"{name}.db")},
            offline_store={"type": kind, "entity_select_mode": "embed_query", **server},
            online_store={"type": "feast_postgres.PostgresOnlineStore", **server},
            entity_key_serialization_version=3,
        )
    )
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    shop = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.STRING)
    keys = [Field(name="user_id", dtype=String), Field(name="shop_id", dtype=String)]
    store.apply(
        [
            user,
            shop,
            FeatureView(
                name="visits",
                entities=[user],
                schema=[keys[0], Field(name="n", dtype=Int64)],
                source=PostgreSQLSource(
                    name="visits_source",
                    table="visits",
                    timestamp_field="at",
                    created_timestamp_column="created",
                ),
                ttl=timedelta(hours=3),
            ),
            FeatureView(
                name="orders",
                entities=[user, shop],
                schema=[*keys, Field(name="items", dtype=Int64)],
                source=PostgreSQLSource(
                    name="orders_source",
                    table="orders",
                    timestamp_field="at",
                    field_mapping={"bought": "items"},
                ),
                ttl=timedelta(0),
            ),
        ]
    )
    return store


def joined(
    store: FeatureStore,
    query: str,
    full_names: bool,
    moment: datetime | None = None,
    created_by_then: bool = False,
) -> list[tuple[Any, ...]]:
    """The rows of the join, in an order of their own; by the moment of all, if it is given."""
    names = ["visits:n", "orders:items"]
    if moment is None:
        job = store.get_historical_features(
            query,
            names,
            full_feature_names=full_names,
            filter_by_created_timestamp=created_by_then,
        )
    else:
        job = PostgresOfflineStore.get_historical_features(
            store.config,
            [store.get_feature_view(name) for name in ("visits", "orders")],
            names,
            query,
            store.registry,
            store.project,
            full_feature_names=full_names,
            moment=moment,
            filter_by_created_timestamp=created_by_then,
        )
    table = job.to_arrow()
    columns = sorted(table.column_names)
    rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
    return sorted([tuple(columns), *rows], key=repr)


@given(
    visits=visits,
    orders=orders,
    asked=asked,
    full_names=st.booleans(),
    at_once=st.booleans(),
    created_by_then=st.booleans(),
)
@hypothesis_settings(max_examples=15, suppress_health_check=[*HealthCheck], phases=[Phase.generate])
def test_it_has_the_same_rows(
    stores: dict[str, FeatureStore],
    database_url: str,
    visits: list[Any],
    orders: list[Any],
    asked: list[Any],
    full_names: bool,
    at_once: bool,
    created_by_then: bool,
) -> None:
    moment = asked[0][2] if at_once else None
    asked = [(user, shop, moment or at) for user, shop, at in asked]
    schema = stores["ours"].config.offline_store.db_schema
    with psycopg.connect(database_url) as connection:
        for table, rows in (("visits", visits), ("orders", orders)):
            name = sql.Identifier(schema, table)
            connection.execute(sql.SQL("TRUNCATE {}").format(name))
            connection.cursor().executemany(
                sql.SQL("INSERT INTO {} VALUES (%s, %s, %s, %s)").format(name), rows
            )
        values = sql.SQL(", ").join(
            sql.SQL("({}::text, {}::text, {}::timestamptz)").format(*map(sql.Literal, row))
            for row in asked
        )
        query = sql.SQL("SELECT * FROM (VALUES {}) AS e (user_id, shop_id, event_timestamp)")
        text = query.format(values).as_string(connection)
    theirs = joined(stores["theirs"], text, full_names, created_by_then=created_by_then)
    assert joined(stores["ours"], text, full_names, moment, created_by_then) == theirs


def test_keys_of_several_columns_are_not_one_text(
    stores: dict[str, FeatureStore], database_url: str
) -> None:
    """Feast's own query takes ("a", "bc") and ("ab", "c") for one entity."""
    schema = stores["ours"].config.offline_store.db_schema
    with psycopg.connect(database_url) as connection:
        connection.execute(f"TRUNCATE {schema}.visits, {schema}.orders")  # type: ignore[arg-type]
        connection.cursor().executemany(
            f"INSERT INTO {schema}.orders VALUES (%s, %s, %s, %s)",  # type: ignore[arg-type]
            [("a", "bc", START, 1), ("ab", "c", START, 2)],
        )
    query = (
        f"SELECT u AS user_id, s AS shop_id, '{START.isoformat()}'::timestamptz AS event_timestamp "
        "FROM (VALUES ('a', 'bc'), ('ab', 'c')) AS e (u, s)"
    )
    found = joined(stores["ours"], query, full_names=False)
    assert {row[1:4] for row in found} == {
        *(("items", "n", "shop_id"), (1, None, "bc"), (2, None, "c"))
    }
