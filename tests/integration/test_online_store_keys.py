"""Join keys: a typed column for each, which plain SQL can write and read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Bytes, Float64, Int32, Int64, String, UnixTimestamp, Uuid
from psycopg import sql
from tests.feast_stores import JANUARY, SHOP, USER, StoreUnderTest, number, user

pytest_plugins = "tests.feast_stores"

Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def query(database_url: str, postgres_config: dict[str, Any], project: str) -> Query:
    """Runs a query with the name of a view's online table in place of `{}`."""

    def run(text: str, view: str = "profile") -> list[tuple[Any, ...]]:
        table = sql.Identifier(postgres_config["db_schema"], f"{project}.{view}")
        with psycopg.connect(database_url, options="-c timezone=UTC") as connection:
            cursor = connection.execute(sql.SQL(text).format(table))  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    return run


def keyed(name: str, dtype: Any) -> FeatureView:
    entity = Entity(name=name, join_keys=[f"{name}_id"], value_type=dtype.to_value_type())
    fields = [Field(name=f"{name}_id", dtype=dtype), Field(name="fee", dtype=Float64)]
    view = FeatureView(name="profile", entities=[entity], schema=fields)
    view.entity_columns = fields[:1]
    return view


@pytest.mark.parametrize(
    ("dtype", "value", "held"),
    [
        (String, Value(string_val="ünï \\N"), "ünï \\N"),
        (Int32, Value(int32_val=-(2**31)), -(2**31)),
        (Int64, Value(int64_val=2**63 - 1), 2**63 - 1),
        (Bytes, Value(bytes_val=b"\x00\xff"), b"\x00\xff"),
        (UnixTimestamp, Value(unix_timestamp_val=1), datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
    ],
    ids=["text", "int4", "int8", "bytea", "timestamptz"],
)
def test_a_key_lies_in_a_column_of_its_own_type(
    postgres: StoreUnderTest, query: Query, dtype: Any, value: Value, held: Any
) -> None:
    view = keyed("thing", dtype)
    postgres.online.update(postgres.config, [], [view], [], [], partial=True)
    key = EntityKey(join_keys=["thing_id"], entity_values=[value])
    postgres.write(view, (key, number(1), JANUARY))
    assert postgres.read(view, key) == [(JANUARY, number(1))]
    assert query("SELECT thing_id, fee FROM {}") == [(held, 1)]


def test_rows_written_by_plain_sql_are_read_by_feast(
    postgres: StoreUnderTest, query: Query
) -> None:
    postgres.view(entities=(USER, SHOP), fee=Float64)
    query("INSERT INTO {} (shop_id, user_id, event_timestamp, fee) VALUES (1, 'ada', now(), 7)")
    row = [{"user_id": "ada", "shop_id": 1}]
    assert postgres.feast.get_online_features(["profile:fee"], row).to_dict()["fee"] == [7]


def test_a_key_of_a_type_that_postgresql_lacks_is_stored_serialized(
    postgres: StoreUnderTest, query: Query
) -> None:
    view = keyed("thing", Uuid)
    postgres.online.update(postgres.config, [], [view], [], [], partial=True)
    postgres.write(view, (user("ada"), number(1), JANUARY))
    assert postgres.read(view, "ada", "bob") == [(JANUARY, number(1)), (None, None)]
    assert query("SELECT pg_typeof(entity_key)::text FROM {}") == [("bytea",)]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            EntityKey(join_keys=["id"], entity_values=[Value(string_val="a")]),
            r"\['user_id'\].*'id'",
        ),
        (EntityKey(), r"found by \['user_id'\], not by \[\]"),
        (user("a\0b"), "NUL"),
        (EntityKey(join_keys=["user_id"], entity_values=[Value()]), "'user_id' is null"),
        (EntityKey(join_keys=["user_id"], entity_values=[Value(int64_val=1)]), "string_val.*int64"),
    ],
    ids=["another name", "none", "NUL", "null", "another type"],
)
def test_a_key_that_is_not_the_views_is_an_error(
    postgres: StoreUnderTest, key: EntityKey, message: str
) -> None:
    view = postgres.view(fee=Float64)
    with pytest.raises(ValueError, match=message):
        postgres.write(view, ("ada", number(1), JANUARY), (key, number(1), JANUARY))
    assert postgres.read(view, "ada") == [(None, None)]


def test_a_key_that_no_row_can_have_is_not_found(postgres: StoreUnderTest) -> None:
    view = postgres.view(fee=Float64)
    number_for_text = EntityKey(join_keys=["user_id"], entity_values=[Value(int64_val=1)])
    assert postgres.read(view, "a\0b", number_for_text) == [(None, None)] * 2


def test_other_join_keys_create_the_table_again(postgres: StoreUnderTest, query: Query) -> None:
    postgres.write(postgres.view(fee=Float64), ("ada", number(1), JANUARY))
    view = postgres.view(entities=(SHOP,), fee=Float64)
    shop = EntityKey(join_keys=["shop_id"], entity_values=[Value(int64_val=1)])
    assert postgres.read(view, shop) == [(None, None)]
    postgres.write(view, (shop, number(2), JANUARY))
    assert query("SELECT shop_id, fee FROM {}") == [(1, 2)]


def test_a_table_with_serialized_keys_of_an_earlier_version_is_created_again(
    postgres: StoreUnderTest, query: Query
) -> None:
    view = postgres.view(fee=Float64)
    query("DROP TABLE {}")
    query(
        "CREATE TABLE {} (entity_key bytea PRIMARY KEY, event_timestamp timestamptz NOT NULL, "
        "created_timestamp timestamptz, unwritten text[], fee float8)"
    )
    query("INSERT INTO {} VALUES ('x', now(), NULL, NULL, 1)")
    postgres.online.update(postgres.config, [], [view], [], [], partial=True)
    postgres.write(view, ("ada", number(2), JANUARY))
    assert query("SELECT user_id, fee FROM {}") == [("ada", 2)]


def test_names_that_our_statements_use_are_free_for_keys(
    postgres: StoreUnderTest, query: Query
) -> None:
    names = ["event_timestamp", "ctid", "key0", "position", "given", "name"]
    entities = [Entity(name=name, join_keys=[name], value_type=ValueType.STRING) for name in names]
    view = postgres.view(entities=tuple(entities), stored=Float64)
    parts = [Value(string_val=name) for name in names]
    key = EntityKey(join_keys=names, entity_values=parts)
    for _ in range(2):
        postgres.write(view, (key, {"stored": Value(double_val=1)}, JANUARY))
    assert postgres.read(view, key) == [(JANUARY, {"stored": Value(double_val=1)})]
    response = postgres.feast.get_online_features(
        ["profile:stored"], [{name: name for name in names}]
    )
    assert response.to_dict()["stored"] == [1]


def test_an_on_demand_view_that_is_written_is_read_back(postgres: StoreUnderTest) -> None:
    profile = postgres.view(fee=Float64)

    @on_demand_feature_view(
        entities=[USER],
        sources=[profile],
        schema=[Field(name="twice", dtype=Float64)],
        mode="python",
        write_to_online_store=True,
    )
    def doubled(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"twice": [fee * 2 for fee in inputs["fee"]]}

    postgres.feast.apply([doubled])
    view = postgres.feast.get_on_demand_feature_view("doubled")
    written = {"twice": Value(double_val=4), "user_id": Value(string_val="ada")}
    postgres.write(view, ("ada", written, JANUARY))
    assert postgres.read(view, "ada") == [(JANUARY, {"twice": Value(double_val=4)})]
