"""Features that tell nothing, or everything, are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.orchard import orchard
from tests.training_tables import table_of

from streamflow.training.dataset import FeatureValue
from streamflow.training.served_model import Feature
from streamflow.training.training_set_warnings import training_set_warnings

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
