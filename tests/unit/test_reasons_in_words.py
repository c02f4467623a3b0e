"""Reasons in words: as the use case phrases them, and sensibly where it doesn't."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.reasons.sentences import number, sentence
from streamflow.reasons.usual import FeatureValue, usual_values
from streamflow.training.served_model import Feature, FeatureSchema
from streamflow.use_case import Phrase
from streamflow.use_case.phrases import phrase_findings

Kind = Literal["INT64", "FLOAT64", "BOOL", "STRING"]
PAYMENTS = "{value} failed payments in 90 days"
STREAMS = Phrase(true="streams TV", false="doesn't stream TV", null="has no plan")
SERVICE = Phrase(values={"fiber": "fibre optic"})


def feature(kind: Kind, name: str = "some_feature") -> Feature:
    return Feature(name, "view", kind, nullable=True)


@pytest.mark.parametrize(
    ("kind", "value", "usual", "phrase", "said"),
    [
        ("INT64", 4, 0, PAYMENTS, "4 failed payments in 90 days, usually 0"),
        ("INT64", 1, 2, Phrase("{value} skips", one="a skip"), "a skip, usually 2"),
        ("INT64", 2, 1, Phrase("{value} skips", one="a skip"), "2 skips, usually 1"),
        ("INT64", 0, 0, PAYMENTS, "0 failed payments in 90 days, as usual"),
        ("INT64", 12_345, 7, None, "some feature: 12,345, usually 7"),
        ("FLOAT64", 29.849999, 54.0, "a fee of {value}", "a fee of 29.85, usually 54"),
        ("FLOAT64", 3.0, 4.0, "{value} (most have {usual})", "3 (most have 4)"),
        ("FLOAT64", None, 4.0, None, "some feature: no value, usually 4"),
        ("FLOAT64", float("nan"), 4.0, None, "some feature: no value, usually 4"),
        ("FLOAT64", 4.0, None, None, "some feature: 4, most often no value"),
        ("BOOL", True, False, None, "some feature: yes, most often no"),
        ("BOOL", False, False, None, "some feature: no, as usual"),
        ("BOOL", True, False, STREAMS, "streams TV, most often doesn't stream TV"),
        ("BOOL", None, True, STREAMS, "has no plan, most often streams TV"),
        ("BOOL", None, None, None, "some feature: no value, as usual"),
        ("STRING", "fiber", "dsl", None, "some feature: fiber, most often dsl"),
        ("STRING", "dsl", "fiber", SERVICE, "some feature: dsl, most often fibre optic"),
        (
            "STRING",
            "2024-01-31",
            "2023-12-31",
            None,
            "some feature: 2024-01-31, most often 2023-12-31",
        ),
        ("STRING", "{value}", "a", None, "some feature: {value}, most often a"),
    ],
)
def test_a_reason_in_words(
    kind: Kind, value: FeatureValue, usual: FeatureValue, phrase: str | Phrase | None, said: str
) -> None:
    assert sentence(feature(kind), value, usual, phrase, lowers=False) == said
    lowering = sentence(feature(kind), value, usual, phrase, lowers=True)
    assert lowering == f"{said} (lowers the score)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-3, "-3"),
        (1_234_567, "1,234,567"),
        (0.000123456, "0.0001235"),
        (0.5, "0.5"),
        (99.95, "99.95"),
        (99.999, "100"),
        (1234.5, "1,234"),
        (123.45, "123.5"),
        (-29.85, "-29.85"),
        (1e-300, "0"),
        (1e22, "10,000,000,000,000,000,000,000"),
        (float("inf"), "inf"),
    ],
)
def test_a_number_as_people_write_it(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(allow_nan=False) | st.integers())
def test_any_number_can_be_written(value: float) -> None:
    assert number(value)


def usual(kind: Kind, values: list[FeatureValue]) -> FeatureValue:
    schema = FeatureSchema("service", "entity", "entity_id", (feature(kind, "x"),))
    return usual_values(schema, {"x": values})["x"]


def test_what_is_usual_is_a_value_that_rows_have() -> None:
    assert usual("INT64", [0, 0, 1, 9]) == 0
    assert usual("FLOAT64", [1.0, 2.0, None, 8.0]) == 2.0
    assert usual("BOOL", [True, False, True]) is True
    assert usual("STRING", ["b", "a", "b", "a"]) == "a"
    assert usual("STRING", ["a", None, None]) is None
    assert usual("FLOAT64", [float("nan")] * 3) is None
    assert usual("INT64", []) is None


@pytest.mark.parametrize(
    ("phrases", "found"),
    [
        ({"a": "{value} a, usually {usual}"}, None),
        ({"a": STREAMS, "b": SERVICE}, None),
        ({"a": "{{braces}}"}, None),
        ({"a": "{valeu}"}, "other fields"),
        ({"a": "{value.__class__}"}, "other fields"),
        ({"a": "{value:>9}"}, "other fields"),
        ({"a": "{value!r}"}, "other fields"),
        ({"a": "{}"}, "other fields"),
        ({"a": "{value"}, "can't be read"),
        ({"a": ""}, "says nothing"),
        ({"a": 3}, "neither a text nor a Phrase"),
        ({"a": Phrase(null=3)}, "isn't a text"),  # type: ignore[arg-type]
        (["a"], "isn't a mapping"),
    ],
)
def test_a_phrase_that_cannot_be_said_is_found(phrases: Any, found: str | None) -> None:
    findings = [*phrase_findings(phrases)]
    if found is None:
        assert findings == []
    else:
        (finding,) = findings
        assert found in finding.what
