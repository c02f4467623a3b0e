"""Values are read as they were written, by us and by Feast's own path: 10,000 random rows of all
value types that Feast has."""

from __future__ import annotations

import random
from typing import Any

import pytest
from feast.protos.feast.types.Value_pb2 import Value
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.feast_stores import DAY, JANUARY, StoreUnderTest, user
from tests.feast_values import FIELDS, NO_TYPES, TEXT, dtype_of, exact, values_of

pytest_plugins = "tests.feast_stores"

EXAMPLES, ROWS = 25, 400
# By name of a feature, values of its type: five at a time, that rows are drawn from.
POOLS = st.fixed_dictionaries(
    {name: st.lists(values_of(name), min_size=5, max_size=5) for name in FIELDS}
)


@pytest.fixture
def view(postgres: StoreUnderTest) -> Any:
    return postgres.view("all", **{name: dtype_of(name) for name in FIELDS})


def test_a_feature_of_every_value_type_takes_part() -> None:
    assert NO_TYPES == ("UNKNOWN", "NULL")
    fields = {field.name for field in Value.DESCRIPTOR.fields}
    assert set(FIELDS.values()) == fields - {"null_val"}


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(pools=POOLS, seed=st.integers(0, 2**32))
def test_random_rows_are_read_as_they_were_written(
    postgres: StoreUnderTest, view: Any, pools: dict[str, list[Any]], seed: int
) -> None:
    dice = random.Random(seed)
    # Each example is newer than the one before; otherwise the store would ignore its rows.
    postgres.turns += 1
    written_at = JANUARY + postgres.turns * DAY
    written = {
        f"user{number}": {name: dice.choice(values) for name, values in pools.items()}
        for number in range(ROWS)
    }
    few = 100  # a batch small enough to be written without COPY
    rows = [(name, values, written_at) for name, values in written.items()]
    postgres.write(view, *rows[:few])
    postgres.write(view, *rows[few:])
    read = postgres.read(view, *written)
    assert [moment for moment, _ in read] == [written_at] * ROWS
    for (_, values), expected in zip(read, written.values(), strict=True):
        assert exact(values).items() - exact(expected).items() == set()
        assert values.keys() == expected.keys()
    requested = [f"all:{name}" for name in FIELDS]
    keys = [{"user_id": name} for name in list(written)[:few]]
    ours = postgres.feast.get_online_features(requested, keys).proto
    with pytest.MonkeyPatch.context() as patch:
        # without our override, Feast's own path remains
        patch.delattr(type(postgres.online), "_read_features_per_fv")
        theirs = postgres.feast.get_online_features(requested, keys).proto
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(
        deterministic=True
    )
    assert ours.results[1].statuses == [1] * few  # present


@given(names=st.lists(TEXT | st.just("user0"), min_size=1, max_size=20))
@settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_any_text_is_a_key_of_its_own(postgres: StoreUnderTest, names: list[str]) -> None:
    view = postgres.view("keys", age=dtype_of("int64"))
    postgres.turns += 1
    at = JANUARY + postgres.turns * DAY
    ages = {name: number for number, name in enumerate(names)}
    rows = [(user(name), {"age": Value(int64_val=age)}, at, None) for name, age in ages.items()]
    postgres.online.online_write_batch(postgres.config, view, rows, None)
    response = postgres.feast.get_online_features(["keys:age"], {"user_id": names}).to_dict()
    assert response["age"] == [ages[name] for name in names]
