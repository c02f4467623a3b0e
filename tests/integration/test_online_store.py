"""The online store, as Feast's `OnlineStore` interface and SDK see it.

Behaviour that every online store shares: each test runs against Feast's own SQLite store as well.
"""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, FileSource, PushSource
from feast.data_source import PushMode
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
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.feast_stores import (
    DAY,
    FEBRUARY,
    HOUR,
    JANUARY,
    NULL,
    SHOP,
    USER,
    StoreUnderTest,
    number,
    user,
)
from tests.feast_values import FIELDS, dtype_of, exact, values_of

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
    store: StoreUnderTest, dtype: Any, value: Value
) -> None:
    view = store.view(feature=dtype)
    store.write(view, ("ada", {"feature": value}, JANUARY))
    [(event_timestamp, values)] = store.read(view, "ada")
    assert event_timestamp == JANUARY
    assert event_timestamp.utcoffset() == timedelta(0)
    # compared as bytes, because NaN is unequal to itself
    assert values["feature"].SerializeToString() == value.SerializeToString()


EVERY_TYPE = st.fixed_dictionaries({name: values_of(name) for name in FIELDS})


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(written=EVERY_TYPE)
def test_features_of_every_value_type_side_by_side_are_read_as_they_were_written(
    store: StoreUnderTest, written: dict[str, Value]
) -> None:
    view = store.feast.list_feature_views() or [
        store.view("all", **{name: dtype_of(name) for name in FIELDS})
    ]
    store.turns += 1
    store.write(view[0], ("ada", written, JANUARY + store.turns * DAY))
    [(_, read)] = store.read(view[0], "ada")
    assert exact(read) == exact(written)


@pytest.mark.parametrize(
    ("dtype", "keys"),
    [
        (String, ["a", "ünï \\N '"]),
        (Int32, [-(2**31), 7]),
        (Int64, [2**63 - 1, 7]),
        (Bytes, [b"\x00\xff", b""]),
        (UnixTimestamp, [JANUARY, FEBRUARY]),
    ],
    ids=str,
)
def test_an_entity_is_found_by_a_key_of_any_type_that_feast_has_for_keys(
    store: StoreUnderTest, dtype: Any, keys: list[Any]
) -> None:
    thing = Entity(name="thing", join_keys=["thing_id"], value_type=dtype.to_value_type())
    view = FeatureView(
        name="things",
        entities=[thing],
        schema=[Field(name="thing_id", dtype=dtype), Field(name="fee", dtype=Float64)],
        source=FileSource(path="absent.parquet", timestamp_field="event_timestamp"),
    )
    store.feast.apply([thing, view])
    frame = pd.DataFrame({"thing_id": keys, "fee": [1.0, 2.0], "event_timestamp": [JANUARY] * 2})
    store.feast.write_to_online_store("things", frame)
    response = store.feast.get_online_features(["things:fee"], [{"thing_id": key} for key in keys])
    assert response.to_dict()["fee"] == [1.0, 2.0]


def test_a_null_is_present_and_an_unknown_entity_is_not_found(store: StoreUnderTest) -> None:
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


def test_a_data_frame_comes_back_through_the_sdk(store: StoreUnderTest) -> None:
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


def test_a_pushed_row_is_served(store: StoreUnderTest) -> None:
    source = PushSource(
        name="pushed",
        batch_source=FileSource(path="absent.parquet", timestamp_field="event_timestamp"),
    )
    fields = [Field(name="user_id", dtype=String), Field(name="fee", dtype=Float64)]
    view = FeatureView(name="profile", entities=[USER], schema=fields, source=source)
    store.feast.apply([USER, view])
    row = pd.DataFrame({"user_id": ["ada"], "fee": [45.25], "event_timestamp": [JANUARY]})
    store.feast.push("pushed", row, to=PushMode.ONLINE)
    response = store.feast.get_online_features(["profile:fee"], [{"user_id": "ada"}])
    assert response.to_dict()["fee"] == [45.25]


@pytest.mark.parametrize("size", [0, 1, 2, 99, 100, 101, 199, 200, 201, 1_000, 10_001])
def test_a_batch_of_any_size_is_written_and_read_whole(store: StoreUnderTest, size: int) -> None:
    view = store.view(fee=Float64)
    names = [f"user{i}" for i in range(size)]
    store.write(view, *[(name, number(i), JANUARY) for i, name in enumerate(names)])
    assert store.read(view, *names) == [(JANUARY, number(i)) for i in range(size)]
    assert store.read(view, "nobody") == [(None, None)]


def test_requested_features_are_read_and_an_unknown_one_is_left_out(store: StoreUnderTest) -> None:
    view = store.view(fee=Float64, months=Int64)
    months = {"months": Value(int64_val=7)}
    store.write(view, ("ada", number(1) | months, JANUARY))
    [(_, values)] = store.read(view, "ada", features=["months", "unknown"])
    assert values["months"] == months["months"]
    assert "unknown" not in values
    for requested in (None, []):
        assert store.read(view, "ada", features=requested) == [(JANUARY, number(1) | months)]


def test_a_row_without_a_value_is_read_as_no_row(store: StoreUnderTest) -> None:
    view = store.view(fee=Float64)
    store.write(view, ("ada", {}, JANUARY))
    assert store.read(view, "ada") == [(None, None)]


def test_the_last_row_of_an_entity_in_a_batch_wins(store: StoreUnderTest) -> None:
    view = store.view(fee=Float64)
    store.write(view, *[("ada", number(i), JANUARY + i * HOUR) for i in range(300)])
    assert store.read(view, "ada") == [(JANUARY + 299 * HOUR, number(299))]


def test_a_view_without_entities_has_one_row_for_everybody(store: StoreUnderTest) -> None:
    view = store.view("world", entities=(), fee=Float64)
    key = EntityKey(join_keys=["__dummy_id"], entity_values=[Value(string_val="")])
    store.write(view, (key, number(1), JANUARY))
    rows = [{"user_id": "ada"}, {"user_id": "bob"}]
    assert store.feast.get_online_features(["world:fee"], rows).to_dict()["fee"] == [1, 1]


def test_views_and_projects_with_the_same_names_stay_apart(
    store: StoreUnderTest, tmp_path: Path, project: str
) -> None:
    other = StoreUnderTest(tmp_path, store.config.online_store.model_dump(), f"{project}_2")
    profile, of_other = store.view(fee=Float64), other.view(fee=Float64)
    usage = store.view("usage", fee=Float64)
    store.write(profile, ("ada", number(1), JANUARY))
    assert store.read(usage, "ada") == other.read(of_other, "ada") == [(None, None)]
    store.write(usage, ("ada", number(2), JANUARY))
    other.write(of_other, ("ada", number(3), JANUARY))
    # through the same store object as well: the configuration comes with each call
    assert store.online.online_read(other.config, profile, [user("ada")]) == [(JANUARY, number(3))]
    other.feast.teardown()
    assert store.read(profile, "ada") == [(JANUARY, number(1))]
    assert store.read(usage, "ada") == [(JANUARY, number(2))]


def test_async_methods_do_the_same_or_raise_that_they_are_not_supported(
    store: StoreUnderTest,
) -> None:
    view = store.view(fee=Float64)
    rows = [(user("ada"), number(1), JANUARY, None)]
    supported = store.online.async_supported

    async def write() -> list[int]:
        written: list[int] = []
        await store.online.online_write_batch_async(store.config, view, rows, written.append)
        return written

    async def read() -> Any:
        keys = [user("ada"), user("nobody")]
        response = await store.online.online_read_async(store.config, view, keys)
        request = (["profile:fee"], [{"user_id": "ada"}, {"user_id": "nobody"}])
        served = await store.feast.get_online_features_async(*request)
        await store.online.close()
        return response, served.to_dict()["fee"]

    if supported.write:
        assert asyncio.run(write()) == [1]
    else:
        with pytest.raises(NotImplementedError):
            asyncio.run(write())
        store.online.online_write_batch(store.config, view, rows, None)
    if supported.read:
        assert asyncio.run(read()) == ([(JANUARY, number(1)), (None, None)], [1, None])
    else:
        with pytest.raises(NotImplementedError):
            asyncio.run(read())


def test_results_are_in_the_order_of_the_keys_even_if_repeated(store: StoreUnderTest) -> None:
    view = store.view(fee=Float64)
    store.write(view, *[(f"user{i}", number(i), JANUARY) for i in range(20)])
    read = store.read(view, "user7", "user3", "nobody", "user7")
    assert [values and values["fee"].double_val for _, values in read] == [7, 3, None, 7]


def test_composite_keys_stay_apart_and_their_order_does_not_matter(store: StoreUnderTest) -> None:
    def key(user_id: str, shop_id: int, *, swapped: bool = False) -> EntityKey:
        parts = [("user_id", Value(string_val=user_id)), ("shop_id", Value(int64_val=shop_id))]
        names, values = zip(*reversed(parts) if swapped else parts, strict=True)
        return EntityKey(join_keys=names, entity_values=values)

    view = store.view(entities=(USER, SHOP), fee=Float64)
    store.write(view, (key("a1", 1), number(1), JANUARY), (key("a", 11), number(2), JANUARY))
    read = store.read(view, key("a", 11, swapped=True), key("a1", 1), key("a1", 11))
    assert [values and values["fee"].double_val for _, values in read] == [2, 1, None]


def test_a_later_batch_with_newer_values_replaces_older_ones(store: StoreUnderTest) -> None:
    view = store.view(fee=Float64)
    store.write(view, ("ada", number(1), JANUARY))
    store.write(view, ("ada", number(2), FEBRUARY))
    assert store.read(view, "ada") == [(FEBRUARY, number(2))]


def test_a_time_without_zone_is_utc_and_one_with_is_its_instant(store: StoreUnderTest) -> None:
    view = store.view(fee=Float64)
    naive, elsewhere = JANUARY.replace(tzinfo=None), JANUARY.astimezone(timezone(9 * HOUR))
    store.write(view, ("ada", number(1), naive), ("bob", number(2), elsewhere))
    assert [event for event, _ in store.read(view, "ada", "bob")] == [JANUARY, JANUARY]


def test_a_feature_added_later_is_missing_until_it_is_written(store: StoreUnderTest) -> None:
    store.write(store.view(fee=Float64), ("ada", number(1), JANUARY))
    wider = store.view(fee=Float64, months=Int64)
    assert store.read(wider, "ada") == [(JANUARY, number(1))]
    months = {"months": NULL}
    store.write(wider, ("ada", number(2) | months, FEBRUARY), ("bob", number(3) | months, JANUARY))
    assert store.read(wider, "ada", "bob") == [
        (FEBRUARY, number(2) | months),
        (JANUARY, number(3) | months),
    ]


def test_a_write_of_some_features_leaves_the_others(store: StoreUnderTest) -> None:
    view = store.view(fee=Float64, months=Int64)
    months = {"months": Value(int64_val=7)}
    store.write(view, ("ada", number(1), JANUARY), ("bob", months, JANUARY))
    assert store.read(view, "ada", "bob") == [(JANUARY, number(1)), (JANUARY, months)]
    store.write(view, ("ada", months, FEBRUARY), ("bob", number(2), FEBRUARY))
    assert store.read(view, "ada", "bob") == [
        (FEBRUARY, number(1) | months),
        (FEBRUARY, number(2) | months),
    ]


def test_applying_again_keeps_what_was_written(store: StoreUnderTest) -> None:
    store.write(store.view(fee=Float64), ("ada", number(1), JANUARY))
    assert store.read(store.view(fee=Float64), "ada") == [(JANUARY, number(1))]


def test_a_deleted_view_that_comes_back_is_empty(store: StoreUnderTest) -> None:
    view = store.view(fee=Float64)
    store.write(view, ("ada", number(1), JANUARY))
    store.feast.apply([], objects_to_delete=[view], partial=False)
    assert store.read(store.view(fee=Float64), "ada") == [(None, None)]


def test_an_update_leaves_views_that_it_does_not_name(store: StoreUnderTest) -> None:
    profile, usage = store.view(fee=Float64), store.view("usage", fee=Float64)
    store.write(profile, ("ada", number(1), JANUARY))
    store.online.update(store.config, [usage], [], [], [], partial=True)
    assert store.read(profile, "ada") == [(JANUARY, number(1))]
    store.online.update(store.config, [], [usage], [], [], partial=True)
    assert store.read(usage, "ada") == [(None, None)]


def test_teardown_can_be_done_twice_and_nothing_comes_back(store: StoreUnderTest) -> None:
    view = store.view(fee=Float64)
    store.write(view, ("ada", number(1), JANUARY))
    store.online.teardown(store.config, [view], [USER])
    store.online.teardown(store.config, [view], [USER])
    store.online.update(store.config, [], [view], [], [], partial=True)
    assert store.read(view, "ada") == [(None, None)]


def test_progress_reports_every_row(store: StoreUnderTest) -> None:
    view = store.view(fee=Float64)
    written: list[int] = []
    rows = [(user(str(i)), number(i), JANUARY, None) for i in range(5)]
    store.online.online_write_batch(store.config, view, rows, written.append)
    assert sum(written) == 5
