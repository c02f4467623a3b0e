"""Casts inside the database: the same rows as Feast's local engine writes, to the byte."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from feast import Field
from feast.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
    Uuid,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.feast_stores import JANUARY
from tests.feast_values import TEXT
from tests.feast_warehouse import DELIVERED, END, MICROSECOND, START, Warehouse, applied, profile

pytest_plugins = "tests.feast_warehouse"

INT16, INT32 = st.integers(-(2**15), 2**15 - 1), st.integers(-(2**31), 2**31 - 1)
# Beside a null, Feast's own way is exact up to here.
INT64 = st.integers(-(2**53), 2**53)
# Feast's own way makes a null of NaN.
SINGLE = st.floats(width=32, allow_nan=False)
EDGES = [0.0, -0.0, 5e-324, -5e-324, 7.006492321624085e-46, 7.006492321624087e-46, 1.1e-45]
EDGES += [3.4028234663852886e38, 3.4028235677973362e38, 3.4028235677973366e38, 1e39, -1e308]
EDGES += [math.inf, -math.inf, 16_777_217.0, 0.1, 1 / 3, 2.0**-149, -(2.0**-150)]
DOUBLE = st.sampled_from(EDGES) | st.floats(allow_nan=False)
WHOLE32 = st.floats(-(2.0**31) + 1, 2.0**31 - 1, allow_nan=False)
WHOLE64 = st.floats(-(2.0**63), 2.0**63 - 1024, allow_nan=False)
BYTES = st.binary(max_size=300)
UUIDS = st.uuids()
MOMENTS = st.integers(-(10**16), 10**16).map(lambda number: JANUARY + number * MICROSECOND)


def lists(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(elements, min_size=1, max_size=5)


# A column's type, the feature's type, and values.
CASES: dict[str, tuple[str, Any, st.SearchStrategy[Any]]] = {
    "float8 for Float32": ("float8", Float32, DOUBLE),
    "int8 for Float32": ("int8", Float32, INT64),
    "numeric for Float32": ("numeric", Float32, WHOLE32.map(str)),
    "int8 for Float64": ("int8", Float64, INT64),
    "int8 for Int32": ("int8", Int32, INT32),
    "float8 for Int32": ("float8", Int32, WHOLE32),
    "float4 for Int32": ("float4", Int32, st.floats(-1e9, 1e9, width=32)),
    "float8 for Int64": ("float8", Int64, WHOLE64),
    "numeric for Int64": ("numeric", Int64, st.decimals(-(10**15), 10**15, places=3)),
    "uuid for String": ("uuid", String, UUIDS),
    "uuid for Uuid": ("uuid", Uuid, UUIDS),
    "text for Uuid": ("text", Uuid, UUIDS.map(str)),
    "text for Decimal": ("text", Decimal, st.decimals(allow_nan=False).map(str)),
    "int4[] for Int32": ("int4[]", Array(Int32), lists(INT32)),
    "int8[] for Int32": ("int8[]", Array(Int32), lists(INT32)),
    "int2[] for Int32": ("int2[]", Array(Int32), lists(INT16)),
    "int8[] for Int64": ("int8[]", Array(Int64), lists(st.integers(-(2**63), 2**63 - 1))),
    "int4[] for Int64": ("int4[]", Array(Int64), lists(INT32)),
    "float4[] for Float32": ("float4[]", Array(Float32), lists(SINGLE | st.just(math.nan))),
    "float8[] for Float32": ("float8[]", Array(Float32), lists(DOUBLE | st.just(math.nan))),
    "float8[] for Float64": ("float8[]", Array(Float64), lists(DOUBLE | st.just(math.nan))),
    "float4[] for Float64": ("float4[]", Array(Float64), lists(SINGLE)),
    "bool[] for Bool": ("bool[]", Array(Bool), lists(st.booleans())),
    "text[] for String": ("text[]", Array(String), lists(TEXT | st.just("ü" * 20_000))),
    "numeric[] for Float64": ("numeric[]", Array(Float64), lists(WHOLE32.map(str))),
    "timestamptz[] for UnixTimestamp": ("timestamptz[]", Array(UnixTimestamp), lists(MOMENTS)),
    "timestamp[] for UnixTimestamp": (
        "timestamp[]",
        Array(UnixTimestamp),
        lists(MOMENTS.map(lambda moment: moment.replace(tzinfo=None))),
    ),
    "bytea[] for Bytes": ("bytea[]", Array(Bytes), lists(BYTES)),
}
LENGTHS = (127, 128, 16_383, 16_384, 2_097_151, 2_097_152)


@pytest.fixture
def inside(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing may go through Feast's local engine."""
    caplog.set_level(logging.INFO, "feast_postgres.engine")
    yield
    assert [record.getMessage() for record in caplog.records] == []


def table(warehouse: Warehouse, columns: list[tuple[str, Any, list[Any]]]) -> dict[str, Any]:
    """Make a table `source` of columns c0, c1, ... with a user per row; types by column."""
    names = [f"c{number}" for number in range(len(columns))]
    declared = ", ".join(f"{name} {pg}" for name, (pg, _, _) in zip(names, columns, strict=True))
    warehouse.execute(
        f"DROP TABLE IF EXISTS {warehouse.schema}.source; CREATE TABLE {warehouse.schema}.source "
        f"(user_id text, event_timestamp timestamptz, recorded_at timestamptz, {declared})"
    )
    rows = zip(*(values for _, _, values in columns), strict=True)
    casts = ", ".join(f"%s::{pg}" for pg, _, _ in columns)
    warehouse.execute(
        f"INSERT INTO {warehouse.schema}.source VALUES (%s, %s, %s, {casts})",
        *[(f"u{number:03}", JANUARY, DELIVERED, *row) for number, row in enumerate(rows)],
    )
    return {name: dtype for name, (_, dtype, _) in zip(names, columns, strict=True)}


def both(warehouse: Warehouse, types: dict[str, Any]) -> tuple[Any, Any]:
    """The online rows by our engine and by Feast's local one."""
    view = profile(types, query="SELECT * FROM source")
    stores = [warehouse.store(), warehouse.store("local")]
    for store in stores:
        applied(store, view).materialize(START, END)
    ours, local = (warehouse.online(store) for store in stores)
    return exact(ours), exact(local)


def exact(rows: Any) -> list[tuple[str, ...]]:
    # repr tells -0.0 from 0.0, and NaN equals NaN
    return [tuple(map(repr, row)) for row in rows]


@settings(
    max_examples=500 if os.environ.get("STREAMFLOW_LONG_TESTS") else 8,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
@pytest.mark.usefixtures("inside")
def test_every_cast_stores_what_feasts_own_engine_stores(
    warehouse: Warehouse, data: st.DataObject
) -> None:
    columns = []
    for pg, dtype, values in CASES.values():
        # first a value, as Feast takes the type from it
        drawn = data.draw(st.lists(values, min_size=12, max_size=12))
        some_null = [None if number in (5, 9) else value for number, value in enumerate(drawn)]
        columns.append((pg, dtype, some_null))
    ours, local = both(warehouse, table(warehouse, columns))
    assert len(ours) == 12
    for number, name in enumerate(CASES, 4):
        different = [
            (name, a[number][:80], b[number][:80])
            for a, b in zip(ours, local, strict=True)
            if a[number] != b[number]
        ]
        assert different == []
    assert ours == local


@pytest.mark.usefixtures("inside")
def test_lists_of_any_length_are_serialized(warehouse: Warehouse) -> None:
    texts = [["x" * (length + change)] for length in LENGTHS[:4] for change in (-4, -2, 0)]
    texts += [["x" * (length - 5)] for length in LENGTHS[4:]]
    whole = [[n] * 3 for n in (0, 1, 127, 128, 2**14, 2**35, 2**62, 2**63 - 1, -1, -(2**63))]
    whole += [list(range(length)) for length in (0, 127, 128, 20_000)]
    whole += [[]] * (len(texts) - len(whole))
    columns = [("text[]", Array(String), texts), ("int8[]", Array(Int64), whole)]
    ours, local = both(warehouse, table(warehouse, columns))
    assert ours == local


@pytest.mark.usefixtures("inside")
def test_not_a_number_stays_in_a_float_and_is_a_null_for_an_integer(warehouse: Warehouse) -> None:
    columns = [("float8", dtype, [math.nan, 1.5]) for dtype in (Float32, Float64, Int64)]
    types = table(warehouse, columns)
    store = applied(warehouse.store(), profile(types, query="SELECT * FROM source"))
    store.materialize(START, END)
    rows = [row[-3:] for row in warehouse.online(store)]
    assert [struct.pack("<d", value) for value in rows[0][:2]] == [struct.pack("<d", math.nan)] * 2
    assert [row[2] for row in rows] == [None, 1]


@pytest.mark.parametrize(
    ("pg", "dtype", "value"),
    [
        ("int8", Int32, 2**31),
        ("int8", Int32, -(2**31) - 1),
        ("float8", Int32, 2.0**31),
        ("float8", Int64, 2.0**63),
        ("float8", Int64, -math.inf),
        ("numeric", Int64, "1e30"),
    ],
)
def test_a_number_that_the_feature_cannot_hold_is_named_and_nothing_is_written(
    warehouse: Warehouse, pg: str, dtype: Any, value: Any
) -> None:
    types = table(warehouse, [(pg, dtype, [1, value])])
    view = profile(types, query="SELECT * FROM source")
    store = applied(warehouse.store(), view)
    with pytest.raises(ValueError, match=r"'c0' has numbers that are no \d\d-bit integers"):
        store.materialize(START, END)
    assert warehouse.online(store) == []
    with pytest.raises((ValueError, OverflowError)):  # Feast's own engine fails too
        applied(warehouse.store("local"), view).materialize(START, END)


@pytest.mark.parametrize(
    ("pg", "dtype", "values"),
    [
        ("float8[]", Array(Float64), [[1.5], [2.5, None]]),
        ("float8[]", Array(Float64), [[1.5], [[1.0, 2.0], [3.0, 4.0]]]),
        ("int8[]", Array(Int32), [[1], [1, 2**31]]),
        ("timestamptz[]", Array(UnixTimestamp), [[JANUARY], ["infinity"]]),
    ],
    ids=["null", "two dimensions", "too large", "infinity"],
)
def test_arrays_that_no_list_is_like_go_through_feasts_engine(
    warehouse: Warehouse,
    caplog: pytest.LogCaptureFixture,
    pg: str,
    dtype: Any,
    values: list[Any],
) -> None:
    caplog.set_level(logging.INFO, "feast_postgres.engine")
    types = table(warehouse, [(pg, dtype, values)])
    store = applied(warehouse.store(), profile(types, query="SELECT * FROM source"))
    with contextlib.suppress(Exception):  # most of them Feast's own engine refuses
        store.materialize(START, END)
    assert "'c0' has arrays with nulls, of several dimensions" in caplog.text


@pytest.mark.usefixtures("inside")
def test_a_view_without_entities_that_needs_casts_is_materialized(warehouse: Warehouse) -> None:
    types = table(warehouse, [("float8", Float32, [0.1]), ("text[]", Array(String), [["a"]])])
    fields = [Field(name=name, dtype=dtype) for name, dtype in types.items()]
    view = profile(entities=[], schema=fields, query="SELECT * FROM source")
    store = applied(warehouse.store(), view)
    store.materialize(START, END)
    response = store.get_online_features(["profile:c0", "profile:c1"], [{"user_id": "x"}])
    [number], [texts] = (response.to_dict()[name] for name in types)
    assert (number, texts) == (struct.unpack("f", struct.pack("f", 0.1))[0], ["a"])
