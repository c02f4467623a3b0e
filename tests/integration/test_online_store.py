"""The online store, as Feast's `OnlineStore` interface and SDK see it.

What's the same for any online store: runs against Feast's own SQLite store as well.
"""

from __future__ import annotations

import math
from datetime import timedelta, timezone
from typing import Any

import pandas as pd
import pytest
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Int64List, Map, StringList, Value
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
)
from feast.types import Map as MapType
from tests.feast_stores import FEBRUARY, HOUR, JANUARY, NULL, SHOP, USER, Sut, number, user

pytest_plugins = "tests.feast_stores"


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (Bool, Value(bool_val=False)),
        (Int32, Value(int32_val=-(2**31))),
        (Int64, Value(int64_val=2**63 - 1)),
        (Float32, Value(float_val=29.85)),
        (Float64, Value(double_val=0.1 + 0.2)),
        (Float64, Value(double_val=-0.0)),
        (Float64, Value(double_val=5e-324)),
        (Float64, Value(double_val=-math.inf)),
        (Float64, Value(double_val=math.nan)),
        (String, Value(string_val="")),
        (String, Value(string_val="O'Brien \\N\t\n 🎬 %s")),
        (Bytes, Value(bytes_val=b"")),
        (Bytes, Value(bytes_val=b"\x00\xff\\x")),
        (UnixTimestamp, Value(unix_timestamp_val=-62135596800)),
        (UnixTimestamp, Value(unix_timestamp_val=253402300799)),
        (Array(Int64), Value(int64_list_val=Int64List(val=[1, -2]))),
        (Array(String), Value(string_list_val=StringList(val=[]))),
        (MapType, Value(map_val=Map(val={"a": Value(int64_val=1)}))),
        (Json, Value(json_val='{"a": 1}')),
    ],
    ids=lambda given: str(given).strip().replace("\n", " ")[:40],
)
def test_a_value_of_any_type_is_read_as_it_was_written(
    store: Sut, dtype: Any, value: Value
) -> None:
    view = store.view(feature=dtype)
    store.write(view, ("ada", {"feature": value}, JANUARY))
    [(event_timestamp, values)] = store.read(view, "ada")
    assert event_timestamp == JANUARY
    assert event_timestamp.utcoffset() == timedelta(0)
    # compared as bytes, for not-a-number is unequal to itself
    assert values["feature"].SerializeToString() == value.SerializeToString()


def test_a_null_is_present_and_an_unknown_entity_is_not_found(store: Sut) -> None:
    view = store.view(fee=Float64, tags=Array(String))
    store.write(view, ("ada", {"fee": NULL, "tags": NULL}, JANUARY))
    assert store.read(view, "ada", "nobody") == [
        (JANUARY, {"fee": NULL, "tags": NULL}),
        (None, None),
    ]
    response = store.feast.get_online_features(
        ["profile:fee"], [{"user_id": "ada"}, {"user_id": "nobody"}]
    )
    assert response.to_dict()["fee"] == [None, None]
    names = list(response.proto.metadata.feature_names.val)
    assert list(response.proto.results[names.index("fee")].statuses) == [1, 3]  # present, not found


def test_a_data_frame_comes_back_through_the_sdk(store: Sut) -> None:
    store.view(fee=Float64, months=Int64, plan=Bool)
    frame = pd.DataFrame(
        {
            "user_id": ["ada", "bob"],
            "fee": [45.25, None],
            "months": pd.array([2**53 + 1, 7], dtype="int64"),
            "plan": [True, None],
            "event_timestamp": [JANUARY, JANUARY],
        }
    )
    store.feast.write_to_online_store("profile", frame)
    features = ["profile:fee", "profile:months", "profile:plan"]
    rows = [{"user_id": "bob"}, {"user_id": "ada"}, {"user_id": "bob"}]
    assert store.feast.get_online_features(features, rows).to_dict() == {
        "user_id": ["bob", "ada", "bob"],
        "fee": [None, 45.25, None],
        "months": [7, 2**53 + 1, 7],
        "plan": [None, True, None],
    }


def test_answers_come_in_the_order_of_the_keys_even_if_repeated(store: Sut) -> None:
    view = store.view(fee=Float64)
    store.write(view, *[(f"user{i}", number(i), JANUARY) for i in range(20)])
    read = store.read(view, "user7", "user3", "nobody", "user7")
    assert [values and values["fee"].double_val for _, values in read] == [7, 3, None, 7]


def test_composite_keys_stay_apart_and_their_order_does_not_matter(store: Sut) -> None:
    def key(user_id: str, shop_id: int, *, swapped: bool = False) -> EntityKey:
        parts = [("user_id", Value(string_val=user_id)), ("shop_id", Value(int64_val=shop_id))]
        names, values = zip(*reversed(parts) if swapped else parts, strict=True)
        return EntityKey(join_keys=names, entity_values=values)

    view = store.view(entities=(USER, SHOP), fee=Float64)
    store.write(view, (key("a1", 1), number(1), JANUARY), (key("a", 11), number(2), JANUARY))
    read = store.read(view, key("a", 11, swapped=True), key("a1", 1), key("a1", 11))
    assert [values and values["fee"].double_val for _, values in read] == [2, 1, None]


def test_a_later_batch_with_newer_values_replaces_older_ones(store: Sut) -> None:
    view = store.view(fee=Float64)
    store.write(view, ("ada", number(1), JANUARY))
    store.write(view, ("ada", number(2), FEBRUARY))
    assert store.read(view, "ada") == [(FEBRUARY, number(2))]


def test_a_time_without_zone_is_utc_and_one_with_is_its_instant(store: Sut) -> None:
    view = store.view(fee=Float64)
    naive, elsewhere = JANUARY.replace(tzinfo=None), JANUARY.astimezone(timezone(9 * HOUR))
    store.write(view, ("ada", number(1), naive), ("bob", number(2), elsewhere))
    assert [event for event, _ in store.read(view, "ada", "bob")] == [JANUARY, JANUARY]


def test_a_feature_added_later_is_missing_until_it_is_written(store: Sut) -> None:
    store.write(store.view(fee=Float64), ("ada", number(1), JANUARY))
    wider = store.view(fee=Float64, months=Int64)
    assert store.read(wider, "ada") == [(JANUARY, number(1))]
    months = {"months": NULL}
    store.write(wider, ("ada", number(2) | months, FEBRUARY), ("bob", number(3) | months, JANUARY))
    assert store.read(wider, "ada", "bob") == [
        (FEBRUARY, number(2) | months),
        (JANUARY, number(3) | months),
    ]


def test_a_write_of_some_features_leaves_the_others(store: Sut) -> None:
    view = store.view(fee=Float64, months=Int64)
    months = {"months": Value(int64_val=7)}
    store.write(view, ("ada", number(1), JANUARY), ("bob", months, JANUARY))
    assert store.read(view, "ada", "bob") == [(JANUARY, number(1)), (JANUARY, months)]
    store.write(view, ("ada", months, FEBRUARY), ("bob", number(2), FEBRUARY))
    assert store.read(view, "ada", "bob") == [
        (FEBRUARY, number(1) | months),
        (FEBRUARY, number(2) | months),
    ]


def test_applying_again_keeps_what_was_written(store: Sut) -> None:
    store.write(store.view(fee=Float64), ("ada", number(1), JANUARY))
    assert store.read(store.view(fee=Float64), "ada") == [(JANUARY, number(1))]


def test_a_deleted_view_that_comes_back_is_empty(store: Sut) -> None:
    view = store.view(fee=Float64)
    store.write(view, ("ada", number(1), JANUARY))
    store.feast.apply([], objects_to_delete=[view], partial=False)
    assert store.read(store.view(fee=Float64), "ada") == [(None, None)]


def test_teardown_can_be_done_twice(store: Sut) -> None:
    view = store.view(fee=Float64)
    store.write(view, ("ada", number(1), JANUARY))
    store.online.teardown(store.config, [view], [USER])
    store.online.teardown(store.config, [view], [USER])


def test_progress_is_told_every_row(store: Sut) -> None:
    view = store.view(fee=Float64)
    told: list[int] = []
    rows = [(user(str(i)), number(i), JANUARY, None) for i in range(5)]
    store.online.online_write_batch(store.config, view, rows, told.append)
    assert sum(told) == 5
