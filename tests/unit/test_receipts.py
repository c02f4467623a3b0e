from __future__ import annotations

import math
import struct
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.binary_copy import fields, read_back
from tests.fakes import AMOUNT, COUPON, FEBRUARY, JANUARY, PLAN, VISITS, model

from streamflow.errors import MissingFeatures, UnknownEntity
from streamflow.registry.records import ModelVersion
from streamflow.serving.prediction_log_rows import BEGIN, END, Encoder, LoggedModel
from streamflow.serving.scoring import Prediction, ScoringRequest, Served

FEATURES = (VISITS, PLAN, AMOUNT, COUPON)
VERSION = ModelVersion("example_model", 3, "run-3", "Production", (), {"auc": 0.8}, "hash-3")

moments = st.integers(-(10**15), 10**15).map(
    lambda microseconds: FEBRUARY + timedelta(microseconds=microseconds)
)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
integers = st.integers(-(2**63), 2**63 - 1)
valuable = st.tuples(integers, words, st.floats(), st.sampled_from([True, False, None])).map(
    lambda values: dict(zip(("visits", "plan", "amount", "coupon"), values, strict=True))
)


def served(version=VERSION):
    return Served(version, model(0.5, *FEATURES))


def prediction(values, times=(JANUARY, FEBRUARY), probability=0.5, entity_id="ann"):
    return Prediction(
        entity_id=entity_id,
        prediction=int(probability > 0.5),
        probability=probability,
        features_used=values,
        model=VERSION,
        features_as_of=min(times),
        feature_times=dict(zip(("activity_view", "billing_view"), times, strict=True)),
        warnings=(),
        request_id="a request",
    )


VALUES = {"visits": 3, "plan": "basic", "amount": 0.1 + 0.2, "coupon": None}


def answered(*answers, ids=None, moment=FEBRUARY, by=None):
    ids = ids or ["ann"] * len(answers)
    requests = [ScoringRequest(one, f"request of {one}") for one in ids]
    return by or served(), requests, answers, moment


def receipts(*batches):
    encoder = Encoder()
    logged = LoggedModel.from_served(served())
    return [one for batch in batches for one in read_back(encoder.rows(*batch).content, logged)]


def bits(value):
    return struct.pack("!d", value) if isinstance(value, float) else (type(value), value)


@given(valuable, st.tuples(moments, moments), st.floats(0, 1), moments)
def test_what_was_logged_is_read_back_to_the_last_bit(values, times, probability, moment):
    (found,) = receipts(answered(prediction(values, times, probability), moment=moment))
    assert {name: bits(value) for name, value in found.values.items()} == {
        name: bits(math.nan if value != value else value) for name, value in values.items()
    }
    assert found.times == dict(zip(("activity_view", "billing_view"), times, strict=True))
    assert bits(found.probability) == bits(probability)
    assert found.prediction == int(probability > 0.5)
    assert (found.predicted_at, found.problem) == (moment, None)
    assert (found.entity_id, found.request_id) == ("ann", "request of ann")


@given(st.lists(st.tuples(moments, moments), max_size=5))
def test_rows_of_other_times_keep_their_own(times):
    batch = answered(*(prediction(VALUES, both) for both in times))
    assert [tuple(one.times.values()) for one in receipts(batch)] == times


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64))
def test_an_id_of_any_characters_comes_back(entity_id):
    batch = answered(prediction(VALUES), ids=[entity_id])
    assert [one.entity_id for one in receipts(batch)] == [entity_id]


def test_problems_are_logged_by_their_code_among_the_predictions_of_others():
    batch = answered(
        UnknownEntity("user_id", "bob"),
        prediction(VALUES),
        MissingFeatures(["visits"]),
        ids=["bob", "ann", "eve"],
    )
    bob, ann, eve = receipts(batch)
    assert (bob.problem, eve.problem) == ("unknown_entity", "missing_features")
    for one in (bob, eve):
        assert one.prediction is one.probability is one.values is one.times is None
    assert (ann.problem, dict(ann.values)) == (None, VALUES)


def test_half_a_character_of_an_id_becomes_its_escape():
    (found,) = receipts(answered(prediction(VALUES), ids=["half \ud83d"]))
    assert found.entity_id == "half \\ud83d"


def test_a_row_names_its_model_and_each_feature_in_order():
    (found,) = receipts(answered(prediction(VALUES)))
    assert found.model == LoggedModel(
        model="example_model",
        version=3,
        run_id="run-3",
        stage="Production",
        model_hash="hash-3",
        features=tuple((one.name, one.feature_view, one.type) for one in FEATURES),
    )
    assert found.model.views == ["activity_view", "billing_view"]


@pytest.mark.parametrize(
    "change",
    [{"version": 4}, {"run_id": "another"}, {"model_hash": "another"}, {"stage": "Staging"}],
)
def test_a_model_that_differs_in_anything_has_a_key_of_its_own(change):
    one = LoggedModel.from_served(served())
    assert LoggedModel.from_served(served(replace(VERSION, **change))).key != one.key
    # What may change of a version without it being another model isn't in it.
    assert (
        LoggedModel.from_served(served(replace(VERSION, aliases=("x",), metrics={}))).key == one.key
    )


def test_a_model_that_takes_over_is_named_from_its_first_row_on():
    encoder, old, new = Encoder(), served(), served(replace(VERSION, version=4))
    batches = [answered(prediction(VALUES), by=by) for by in (old, new, old)]
    keys = [next(fields(encoder.rows(*batch).content))["served_model"] for batch in batches]
    assert keys == [LoggedModel.from_served(by).key.bytes for by in (old, new, old)]


def test_the_frame_is_that_of_a_binary_copy():
    assert (BEGIN[:11], len(BEGIN), END) == (b"PGCOPY\n\xff\r\n\0", 19, b"\xff\xff")
