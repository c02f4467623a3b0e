"""Features that tell nothing, or everything, are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.orchard import orchard
from tests.training_tables import table_of

from streamflow.training import canonical
from streamflow.training.dataset import FeatureValue
from streamflow.training.served_model import Feature, FeatureSchema
from streamflow.training.training_set_warnings import (
    SHIFTED,
    most_shifted,
    stability_index,
    training_set_warnings,
)

Kind = Literal["INT64", "FLOAT64", "BOOL", "STRING"]
ROWS = 40
LABELS = [row % 3 == 0 for row in range(ROWS)]


def said(kind: Kind, values: Sequence[Any], labels: Sequence[bool] = LABELS) -> list[str]:
    """The warnings of a training set with one feature, `x`."""
    whole = orchard(len(labels))
    schema = replace(whole.schema, features=(Feature("x", "tree_fv", kind, nullable=True),))
    training_set = replace(whole, schema=schema, columns={"x": list(values)}, labels=list(labels))
    return training_set_warnings(table_of(training_set), schema)


def test_nothing_is_said_of_an_ordinary_training_set() -> None:
    whole = orchard()
    assert training_set_warnings(table_of(whole), whole.schema) == []


@pytest.mark.parametrize("kind", ["INT64", "FLOAT64", "BOOL", "STRING"])
def test_a_feature_that_is_always_null_is_named(kind: Kind) -> None:
    (warning,) = said(kind, [None] * ROWS)
    assert warning.startswith(f"Feature 'x' is null for all {ROWS} entities")


@pytest.mark.parametrize(
    ("kind", "value"), [("INT64", 3), ("FLOAT64", 0.5), ("BOOL", False), ("STRING", "DSL")]
)
def test_a_feature_that_is_always_the_same_is_named(kind: Kind, value: FeatureValue) -> None:
    (warning,) = said(kind, [value] * ROWS)
    assert warning.startswith(f"Feature 'x' has one value for all {ROWS} entities")
    # A null beside it tells something.
    assert said(kind, [value if row % 4 else None for row in range(ROWS)]) == []


COPIES: dict[Kind, list[tuple[Any, Any]]] = {
    "INT64": [(0, 1), (1, 0), (None, 7)],
    "FLOAT64": [(-0.5, 0.5), (1.0, None)],
    "BOOL": [(False, True), (True, False), (None, True)],
    "STRING": [("stays", "leaves"), ("", None)],
}


@given(data=st.data())
def test_a_copy_of_the_label_is_named_and_one_other_value_makes_it_none(
    data: st.DataObject,
) -> None:
    labels = data.draw(
        st.lists(st.booleans(), min_size=8, max_size=60).filter(
            lambda drawn: 2 <= sum(drawn) <= len(drawn) - 2
        )
    )
    kind = data.draw(st.sampled_from(sorted(COPIES)))
    false, true = data.draw(st.sampled_from(COPIES[kind]))
    values = [true if label else false for label in labels]
    (warning,) = said(kind, values, labels)
    assert warning.startswith("Feature 'x' tells the label of every entity by itself")

    row = data.draw(st.integers(0, len(labels) - 1))
    values[row] = false if labels[row] else true
    assert said(kind, values, labels) == []


def test_a_number_on_whose_sides_the_labels_are_is_a_copy_too() -> None:
    scores = [row + 100 * label for row, label in enumerate(LABELS)]
    assert len(said("FLOAT64", [float(score) for score in scores])) == 1
    assert said("FLOAT64", [float(row) for row in range(ROWS)]) == []


def test_a_text_of_its_own_for_each_entity_is_no_copy() -> None:
    assert said("STRING", [f"t{row}" for row in range(ROWS)]) == []


def test_a_feature_that_nearly_decides_the_label_is_named_with_how_often_it_is_wrong() -> None:
    labels = [row % 3 == 0 for row in range(1200)]
    wrong = [not label if row in (600, 601, 602) else label for row, label in enumerate(labels)]
    (warning,) = said("BOOL", wrong, labels)
    assert "all but 3 of 1,200 entities" in warning
    numbers = [row / 1200 + 2 * label for row, label in enumerate(wrong)]
    (warning,) = said("FLOAT64", numbers, labels)
    assert "all but 3 of 1,200 entities" in warning
    # One in a hundred of the rarer label is the most.
    assert (
        said("BOOL", [not one if row < 5 else one for row, one in enumerate(labels)], labels) == []
    )


MONTHS = [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)]


def panel_table(kind: Kind, by_month: Sequence[Sequence[Any]]) -> Any:
    """A table of three months with a feature `x` of these values and one that stays, `y`."""
    rows = [(month, one) for month, values in zip(MONTHS, by_month, strict=True) for one in values]
    return canonical.table(
        [
            ("id", "STRING", [f"{number:05}" for number in range(len(rows))]),
            ("as_of", "STRING", [month.isoformat() for month, _ in rows]),
            ("x", kind, [value for _, value in rows]),
            ("y", "INT64", [number % 7 for number in range(len(rows))]),
            ("label", "BOOL", [number % 2 == 0 for number in range(len(rows))]),
        ]
    )


def shifted(kind: Kind, by_month: Sequence[Sequence[Any]]) -> list[str]:
    features = (Feature("x", "v", kind, nullable=True), Feature("y", "v", "INT64", nullable=False))
    schema = FeatureSchema("s", "e", "id", features)
    return most_shifted(panel_table(kind, by_month), schema, MONTHS[:2], MONTHS[2:])


SHIFTS: dict[Kind, list[Any]] = {
    "FLOAT64": [np.arange(400) / 7, np.arange(400) / 7, np.arange(400) / 7 + 25],
    "INT64": [[*range(400)], [*range(400)], [None] * 200 + [*range(200)]],
    "BOOL": [[True, False] * 200, [True, False] * 200, [True] * 390 + [False] * 10],
    "STRING": [["a", "b"] * 200, ["a", "b"] * 200, ["a", "c"] * 200],
}


@pytest.mark.parametrize("kind", sorted(SHIFTS))
def test_the_feature_whose_values_moved_most_is_named(kind: Kind) -> None:
    by_month = [list(values) for values in SHIFTS[kind]]
    (warning,) = shifted(kind, by_month)
    assert warning.startswith("Feature 'x' has other values in the months that judge")
    assert shifted(kind, [by_month[0], by_month[1], by_month[0]]) == []


@pytest.mark.parametrize("rows", [(5, 5), (60, 10), (10, 60), (120, 60)])
def test_chance_alone_is_hardly_ever_a_shift(rows: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    sides = [[pa.chunked_array([random.normal(size=size)]) for size in rows] for _ in range(500)]
    assert sum(stability_index(*pair) > SHIFTED for pair in sides) <= 5


def test_the_index_is_that_of_its_formula() -> None:
    before = pa.chunked_array([["a"] * 600 + ["b"] * 400])
    after = pa.chunked_array([["a"] * 300 + ["b"] * 700])
    expected = (0.3 - 0.6) * np.log(0.3 / 0.6) + (0.7 - 0.4) * np.log(0.7 / 0.4)
    assert stability_index(before, after) == pytest.approx(expected)
    assert stability_index(before, before) == 0
    assert stability_index(before, pa.chunked_array([pa.array([], pa.string())])) == 0
