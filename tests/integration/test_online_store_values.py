"""Whatever is written is read the same, by us and by Feast's own path: 10,000 random rows of all
value types that Feast has."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types import Value_pb2
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import from_value_type
from feast.value_type import ValueType
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.feast_stores import DAY, JANUARY, Sut, user

pytest_plugins = "tests.feast_stores"

EXAMPLES, ROWS = 25, 400
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
# of the many not-a-numbers, one: PostgreSQL has no more of them in text
FLOATS = st.floats(allow_nan=False) | st.just(math.nan)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=20),
    FieldDescriptor.TYPE_STRING: TEXT,
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_DOUBLE: FLOATS,
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32, allow_nan=False) | st.just(math.nan),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
}
MOMENTS = st.integers(-62_135_596_800, 253_402_300_799)
MAPS = st.dictionaries(TEXT, st.integers(0, 9).map(lambda n: Value(int64_val=n)), max_size=2)


def made(message: Any) -> st.SearchStrategy[Any]:
    """Messages of a kind of Feast's: what a Value of a list, a set or a map holds."""
    kind = getattr(Value_pb2, message.name)
    if message.name == "Map":
        return MAPS.map(lambda entries: kind(val=entries))
    inner = message.fields[0]
    if inner.name == "val" and inner.message_type is None:
        return st.lists(SCALARS[inner.type], max_size=4).map(lambda values: kind(val=values))
    if message.name == "MapList":
        return st.lists(made(inner.message_type), max_size=2).map(lambda maps: kind(val=maps))
    return st.just(kind())


def values_of(field: Any) -> st.SearchStrategy[Any]:
    if field.name == "unix_timestamp_val":
        content: st.SearchStrategy[Any] = MOMENTS
    elif field.message_type:
        content = made(field.message_type)
    else:
        content = SCALARS[field.type]
    return content.map(lambda inner: Value(**{field.name: inner})) | st.just(Value())


FIELDS = {
    field.name.removesuffix("_val"): field
    for field in Value.DESCRIPTOR.fields
    if field.name != "null_val"
}
# By name of a feature, values of its type: 10 of each at a time, that rows are drawn from.
POOLS = st.fixed_dictionaries(
    {name: st.lists(values_of(field), min_size=10, max_size=10) for name, field in FIELDS.items()}
)


def dtype_of(name: str) -> Any:
    alias = {"list": "VALUE_LIST", "set": "VALUE_SET"}
    return from_value_type(ValueType[alias.get(name, name.upper())])


@pytest.fixture
def view(postgres: Sut) -> Any:
    return postgres.view("all", **{name: dtype_of(name) for name in FIELDS})


def test_a_feature_of_every_value_type_takes_part() -> None:
    assert {name.upper() for name in FIELDS} >= {
        kind.name
        for kind in ValueType
        if kind.name
        not in ("UNKNOWN", "NULL", "PDF_BYTES", "IMAGE_BYTES", "VALUE_LIST", "VALUE_SET")
    }


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(pools=POOLS, seed=st.integers(0, 2**32))
def test_random_rows_are_read_as_they_were_written(
    postgres: Sut, view: Any, pools: dict[str, list[Any]], seed: int
) -> None:
    dice = random.Random(seed)
    # Each example is newer than the one before, or the store would keep what it has.
    postgres.days = getattr(postgres, "days", 0) + 1  # type: ignore[attr-defined]
    written_at = JANUARY + postgres.days * DAY  # type: ignore[attr-defined]
    written = {
        f"user{number}": {name: dice.choice(values) for name, values in pools.items()}
        for number in range(ROWS)
    }
    few = 100  # a batch small enough for the other way in
    rows = [(name, values, written_at) for name, values in written.items()]
    postgres.write(view, *rows[:few])
    postgres.write(view, *rows[few:])
    read = postgres.read(view, *written)
    assert [moment for moment, _ in read] == [written_at] * ROWS
    for (_, values), expected in zip(read, written.values(), strict=True):
        assert exact(values).items() - exact(expected).items() == set()
        assert values.keys() == expected.keys()
    asked = [f"all:{name}" for name in FIELDS]
    keys = [{"user_id": name} for name in list(written)[:few]]
    ours = postgres.feast.get_online_features(asked, keys).proto
    with pytest.MonkeyPatch.context() as patch:
        own_path = OnlineStore._read_features_per_fv
        patch.setattr(type(postgres.online), "_read_features_per_fv", own_path)
        theirs = postgres.feast.get_online_features(asked, keys).proto
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(
        deterministic=True
    )
    assert ours.results[1].statuses == [1] * few  # present


def exact(values: dict[str, Any]) -> dict[str, bytes]:
    # as bytes, for not-a-number is unequal to itself
    return {name: value.SerializeToString(deterministic=True) for name, value in values.items()}


@given(names=st.lists(TEXT | st.just("user0"), min_size=1, max_size=20))
@settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_any_text_is_a_key_of_its_own(postgres: Sut, names: list[str]) -> None:
    view = postgres.view("keys", age=dtype_of("int64"))
    postgres.days = getattr(postgres, "days", 0) + 1  # type: ignore[attr-defined]
    at = JANUARY + postgres.days * DAY  # type: ignore[attr-defined]
    ages = {name: number for number, name in enumerate(names)}
    rows = [(user(name), {"age": Value(int64_val=age)}, at, None) for name, age in ages.items()]
    postgres.online.online_write_batch(postgres.config, view, rows, None)
    answer = postgres.feast.get_online_features(["keys:age"], {"user_id": names}).to_dict()
    assert answer["age"] == [ages[name] for name in names]
