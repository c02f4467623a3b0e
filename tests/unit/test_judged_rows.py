"""Which rows judge a model: those it has a prediction for, and the hash that tells them apart."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.training import canonical
from streamflow.training.judged_rows import judged_rows, predictable
from streamflow.training.served_model import Feature, FeatureSchema, encode

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)

Row = tuple[date, str, int]
ROWS = st.lists(
    st.tuples(st.sampled_from([JANUARY, FEBRUARY]), st.sampled_from("abcdefgh"), st.integers(0, 1)),
    min_size=1,
    unique_by=lambda row: row[:2],
)


def hash_of(rows: list[Row]) -> str:
    as_ofs, entities, labels = zip(*rows, strict=True)
    return judged_rows(as_ofs, entities, np.array(labels, np.int64)).hash


@given(ROWS, st.randoms(use_true_random=False))
def test_the_same_rows_have_the_same_hash_in_any_order(rows: list[Row], random: Any) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert hash_of(shuffled) == hash_of(rows)


@given(ROWS, ROWS)
def test_other_rows_have_another_hash(one: list[Row], other: list[Row]) -> None:
    assert (hash_of(one) == hash_of(other)) == (sorted(one) == sorted(other))


def test_rows_are_counted_and_their_months_named() -> None:
    found = judged_rows([FEBRUARY, JANUARY], ["a", "a"], np.array([1, 0]))
    assert (found.rows, found.positives, found.months) == (2, 1, (JANUARY, FEBRUARY))


RULES = st.fixed_dictionaries(
    {
        "nullable": st.booleans(),
        "absent": st.sampled_from(["refuse", "null"]),
        "null_seen": st.booleans(),
    }
)


@st.composite
def feature(draw: st.DrawFn, name: str, kind: str) -> Feature:
    unseen = ["refuse", "warn", "other"] if kind == "STRING" else ["refuse", "warn"]
    return Feature(
        name=name,
        feature_view="view",
        type=kind,  # type: ignore[arg-type]
        categories=("x", "y") if kind == "STRING" else (),
        unseen=draw(st.sampled_from(unseen)),  # type: ignore[arg-type]
        **draw(RULES),
    )


@given(
    st.tuples(feature("word", "STRING"), feature("count", "INT64"), feature("flag", "BOOL")),
    st.lists(
        st.tuples(
            st.sampled_from(["x", "y", "z", None]),
            st.sampled_from([1, None]),
            st.sampled_from([True, None]),
        )
    ),
)
def test_a_row_judges_exactly_if_the_model_takes_it(
    features: tuple[Feature, ...], values: list[tuple[Any, ...]]
) -> None:
    schema = FeatureSchema("service", "entity", "id", features)

    def is_taken(row: tuple[Any, ...]) -> bool:
        try:
            encode(schema, {one.name: [value] for one, value in zip(features, row, strict=True)})
        except ValueError:
            return False
        return True

    table = canonical.table(
        [
            ("id", "STRING", [str(number) for number in range(len(values))]),
            *(
                (one.name, one.type, [row[place] for row in values])
                for place, one in enumerate(features)
            ),
            ("label", "BOOL", [True] * len(values)),
        ]
    )
    found = predictable(table, schema)
    taken = [str(number) for number, row in enumerate(values) if is_taken(row)]
    assert found.table["id"].to_pylist() == taken
    assert sum(found.problems.values()) == len(values) - len(taken)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_missing(value: float) -> None:
    schema = FeatureSchema("s", "e", "id", (Feature("amount", "view", "FLOAT64", nullable=False),))
    table = canonical.table([("id", "STRING", ["a", "b"]), ("amount", "FLOAT64", [value, 1.0])])
    found = predictable(table, schema)
    assert found.table["id"].to_pylist() == ["b"]
    assert found.problems == {"missing_features": 1}
