"""Stream feature views: Feast's registry returns them with their join keys among their features."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from feast import Entity, FileSource, PushSource, StreamFeatureView, ValueType
from feast.data_source import PushMode
from feast.field import Field
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, Int64, String, Uuid
from tests.feast_stores import FEBRUARY, JANUARY, SHOP, USER, StoreUnderTest, number

pytest_plugins = "tests.feast_stores"


def stream(
    sut: StoreUnderTest, entities: tuple[Entity, ...] = (USER,), **types: Any
) -> StreamFeatureView:
    """Apply a stream view, and return it as the registry has it."""
    key_types = {"user_id": String, "shop_id": Int64, "thing_id": Uuid}
    batch = FileSource(path=str(sut.folder / "absent.parquet"), timestamp_field="event_timestamp")
    fields = {entity.join_key: key_types[entity.join_key] for entity in entities} | types
    view = StreamFeatureView(
        name="clicks",
        entities=list(entities),
        schema=[Field(name=name, dtype=dtype) for name, dtype in fields.items()],
        source=PushSource(name="clicks_pushed", batch_source=batch),
        timestamp_field="event_timestamp",
        ttl=timedelta(0),
    )
    sut.feast.apply([*entities, view])
    found: StreamFeatureView = sut.feast.get_stream_feature_view("clicks")
    return found


def test_a_pushed_row_of_a_stream_view_is_served(store: StoreUnderTest) -> None:
    view = stream(store, fee=Float64)
    assert "user_id" in [feature.name for feature in view.features]
    row = pd.DataFrame({"user_id": ["ada"], "fee": [7.5], "event_timestamp": [JANUARY]})
    store.feast.push("clicks_pushed", row, to=PushMode.ONLINE)
    rows = [{"user_id": "ada"}, {"user_id": "bob"}]
    assert store.feast.get_online_features(["clicks:fee"], rows).to_dict()["fee"] == [7.5, None]


def test_a_join_key_among_the_features_is_read_as_the_key(store: StoreUnderTest) -> None:
    view = stream(store, fee=Float64)
    ada = {"user_id": Value(string_val="ada")}
    store.write(view, ("ada", number(1) | ada, JANUARY))
    assert store.read(view, "ada", "bob") == [(JANUARY, number(1) | ada), (None, None)]
    [(_, values)] = store.read(view, "ada", features=["user_id"])
    assert values["user_id"] == ada["user_id"]


def test_a_join_key_is_read_without_having_been_written_as_a_feature(
    postgres: StoreUnderTest,
) -> None:
    stream(postgres, (USER, SHOP), fee=Float64)
    rows = pd.DataFrame(
        {"user_id": ["ada"], "shop_id": [3], "fee": [1.0], "event_timestamp": [JANUARY]}
    )
    postgres.feast.write_to_online_store("clicks", rows)
    response = postgres.feast.get_online_features(
        ["clicks:fee", "clicks:shop_id"], [{"user_id": "ada", "shop_id": 3}]
    ).to_dict()
    assert response == {"user_id": ["ada"], "shop_id": [3], "fee": [1.0]}


@pytest.mark.parametrize("kind", ["registry", "code"])
def test_a_stream_view_of_code_and_of_the_registry_have_one_table(
    store: StoreUnderTest, kind: str
) -> None:
    from_registry = stream(store, fee=Float64)
    from_code = StreamFeatureView(
        name="clicks",
        entities=[USER],
        schema=[Field(name="user_id", dtype=String), Field(name="fee", dtype=Float64)],
        source=from_registry.stream_source,
        timestamp_field="event_timestamp",
    )
    from_code.entity_columns = [Field(name="user_id", dtype=String)]
    first, second = (from_registry, from_code) if kind == "registry" else (from_code, from_registry)
    for view in (first, second):
        store.online.update(store.config, [], [view], [], [], partial=True)
    store.write(first, ("ada", number(1), JANUARY))
    store.write(second, ("ada", number(2), FEBRUARY))
    assert store.read(first, "ada", features=["fee"]) == [(FEBRUARY, number(2))]


def test_a_stream_view_with_a_serialized_key_is_written_and_read(postgres: StoreUnderTest) -> None:
    thing = Entity(name="thing", join_keys=["thing_id"], value_type=ValueType.UUID)
    view = stream(postgres, (thing,), fee=Float64)
    postgres.write(view, ("ada", number(1), JANUARY))
    assert postgres.read(view, "ada") == [(JANUARY, number(1))]
