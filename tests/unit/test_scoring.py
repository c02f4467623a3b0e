from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.fakes import AMOUNT, COUPON, FEATURES, FEBRUARY, JANUARY, MEMBER, PLAN, VISITS, schema

from streamflow.errors import (
    MissingFeatures,
    NoAnswer,
    StaleFeatures,
    UnknownEntity,
    UnseenCategory,
)
from streamflow.registry.records import ModelVersion
from streamflow.serving.feature_status import (
    MISSING,
    Clock,
    EntityRow,
    allowed_ages,
    feature_readings,
)
from streamflow.serving.scoring import Prediction, ScoringRequest, Served, score
from streamflow.training.served_model import Feature, ServedModel

VERSION = ModelVersion("example_model", 3, "run-3", "Production", (), {}, "hash")
INSTANT = timedelta(microseconds=1)
DAY = timedelta(days=1)
VIEWS = ("activity_view", "billing_view", "support_view")
AT_JANUARY = Clock(FEBRUARY, dict.fromkeys(VIEWS, JANUARY))


def served(*features, calls=None):
    """A model whose score of a row depends on all of the row and on no other row."""

    def by_row(matrix):
        if calls is not None:
            calls.append(len(matrix))
        scores = [hash(tuple(row)) % 1000 / 1000 for row in matrix.tolist()]
        return np.array([int(one > 0.5) for one in scores]), np.array(scores)

    return Served(VERSION, ServedModel(schema(*features), by_row))


def rows(*values, time=JANUARY, views=2):
    return [EntityRow((time,) * views, one) for one in values]


def answers(model, given, clock=AT_JANUARY, stale_features="refuse"):
    requests = [ScoringRequest(f"user-{i}", f"request-{i}") for i in range(len(given))]
    return score(model, requests, given, clock, stale_features)


GOOD = (3, "family", 0.5, None, True)


def test_all_rows_are_scored_in_one_call():
    calls = []
    model = served(calls=calls)
    old, unmet = rows((4, "basic", 1.5, True, False)), rows((3, None, 0.5, None, True))
    given = [*rows(GOOD), *unmet, *old]
    first, missing, last = answers(model, given)
    assert calls == [2]
    assert isinstance(missing, MissingFeatures)
    assert list(first.features_used.items()) == [
        *(("visits", 3), ("plan", "family"), ("amount", 0.5), ("coupon", None), ("member", True))
    ]
    assert (first.entity_id, first.request_id) == ("user-0", "request-0")
    assert (last.entity_id, last.features_used["visits"]) == ("user-2", 4)
    assert first.model is VERSION
    assert first.feature_times == {"activity_view": JANUARY, "billing_view": JANUARY}


def test_without_a_row_to_score_the_model_is_not_called():
    calls = []
    (unknown,) = answers(served(calls=calls), [EntityRow((None, None), (None,) * 5)])
    assert isinstance(unknown, UnknownEntity)
    assert "user-0" in unknown.message
    assert answers(served(calls=calls), []) == []
    assert calls == []


def test_a_value_that_training_never_saw_only_takes_its_own_answer_away():
    values = [(number, "basic", 0.5, None, True) for number in range(50)]
    values[17] = (17, "platinum", 0.5, None, True)
    values[31] = (31, "iridium", 0.5, None, True)
    model = served()
    told = answers(model, rows(*values))
    unseen = {i: one for i, one in enumerate(told) if not isinstance(one, Prediction)}
    assert {i: type(one) for i, one in unseen.items()} == {17: UnseenCategory, 31: UnseenCategory}
    assert "'platinum'" in unseen[17].message
    assert "'iridium'" in unseen[31].message
    for i, one in enumerate(told):
        if i not in unseen:
            assert one.features_used["visits"] == i
            (alone,) = answers(model, rows(values[i]))
            assert one.probability == alone.probability


@pytest.mark.parametrize("answered", [-1, 1])
def test_a_model_that_answers_for_fewer_or_more_rows_than_it_was_given_is_not_believed(answered):
    def wrong(matrix):
        return np.zeros(len(matrix) + answered, np.int64), np.zeros(len(matrix) + answered)

    with pytest.raises(ValueError):
        answers(Served(VERSION, ServedModel(schema(), wrong)), rows(GOOD, GOOD))


def test_old_features_are_refused_or_warned_of_as_the_setting_says():
    model = served()
    new, old = rows(GOOD, time=JANUARY + 30 * DAY), rows(GOOD)
    clock = Clock(JANUARY + 30 * DAY)
    good, stale = answers(model, new + old, clock)
    assert isinstance(good, Prediction)
    assert isinstance(stale, StaleFeatures)
    assert stale.ages == {"activity_view": (30 * 86400.0, 20 * 86400.0)}
    good, warned = answers(model, new + old, clock, "warn")
    assert good.warnings == ()
    assert warned.warnings == (stale.message,)
    assert warned.probability == good.probability
    assert (warned.features_as_of, good.features_as_of) == (JANUARY, JANUARY + 30 * DAY)


@pytest.mark.parametrize("first_allowed", [1, 20])
def test_of_a_view_s_old_features_the_one_furthest_beyond_its_age_is_told(first_allowed):
    day = 86400.0
    allowed = (first_allowed * day, (21 - first_allowed) * day)
    features = [Feature(f"f{age}", "activity_view", "INT64", True, age) for age in allowed]
    (stale,) = answers(served(*features), rows((1, 2), views=1), Clock(JANUARY + 30 * DAY))
    assert stale.ages == {"activity_view": (30 * day, day)}


def test_what_is_missing_is_told_rather_than_what_is_old():
    (told,) = answers(served(), rows((3, None, 0.5, None, True)), Clock(FEBRUARY), "warn")
    assert isinstance(told, MissingFeatures)
    assert told.features == ["plan"]


def test_features_are_as_of_the_oldest_view():
    given = EntityRow((FEBRUARY, JANUARY), GOOD)
    (one,) = answers(served(), [given], Clock(FEBRUARY))
    assert one.features_as_of == JANUARY
    assert one.feature_times == {"activity_view": FEBRUARY, "billing_view": JANUARY}


def test_a_number_without_meaning_is_a_null_where_one_is_allowed():
    fee = Feature("fee", "billing_view", "FLOAT64", nullable=True)
    (one,) = answers(served(VISITS, fee), rows((3, float("nan"))))
    assert one.features_used == {"visits": 3, "fee": None}


def test_a_model_of_which_nothing_is_required_is_asked_too():
    fee = Feature("fee", "billing_view", "FLOAT64", nullable=True)
    (null, missing) = answers(served(COUPON, fee), rows((None, None), (MISSING, 1.0), views=1))
    assert null.features_used == {"coupon": None, "fee": None}
    assert isinstance(missing, MissingFeatures)


# Ages as a feature view's ttl has them, some of them longer than there have been years.
ages = st.one_of(
    st.none(),
    st.sampled_from([0.0, 1e-6, 86400.0, 20 * 86400.0, 400 * 365 * 86400.0, 1e12]),
    st.timedeltas(timedelta(0), timedelta(days=60)).map(timedelta.total_seconds),
)
kinds = st.sampled_from(["INT64", "FLOAT64", "BOOL", "STRING"])
features = st.lists(
    st.tuples(st.sampled_from(VIEWS), kinds, st.booleans(), ages), min_size=1, max_size=6
).map(
    lambda drawn: tuple(
        Feature(f"f{i}", view, kind, nullable, age, ("a", "b") if kind == "STRING" else ())
        for i, (view, kind, nullable, age) in enumerate(drawn)
    )
)
VALUES = {
    "INT64": st.integers(-3, 3),
    "FLOAT64": st.one_of(st.floats(), st.integers(-3, 3)),
    "BOOL": st.booleans(),
    "STRING": st.sampled_from(["a", "b", "a", "b", "unseen"]),
}
shifts = st.one_of(
    st.just(timedelta(0)),
    st.timedeltas(timedelta(days=-100), timedelta(days=100)),
    st.tuples(st.sampled_from([1, 20, 60]), st.integers(-1, 1)).map(
        lambda pair: timedelta(days=pair[0]) + pair[1] * INSTANT
    ),
)
moments = shifts.map(lambda shift: JANUARY - shift)
# Mostly there, so that a good part of the rows is good.
times = st.one_of(*[moments] * 5, st.none())
clocks = st.one_of(
    moments.map(Clock),
    st.builds(Clock, st.just(FEBRUARY), st.dictionaries(st.sampled_from(VIEWS), moments)),
)


@st.composite
def tables(draw):
    """Features, and rows of what a store may have of them."""
    drawn = draw(features)
    values = st.tuples(
        *[
            st.one_of(*[VALUES[one.type]] * 8, st.none(), st.just(MISSING))
            if draw(st.booleans())
            else VALUES[one.type].filter(lambda value: value == value)
            for one in drawn
        ]
    )
    views = schema(*drawn).views
    row = st.builds(EntityRow, st.tuples(*[times] * len(views)), values)
    return drawn, draw(st.lists(row, max_size=8))


def judged(model, request, given, clock, stale_features):
    """What `score` should say, by judging the row and predicting it alone."""
    try:
        readings = feature_readings(model.schema, request.entity_id, given, clock)
    except UnknownEntity as unknown:
        return unknown
    if missing := [one.name for one in readings if one.status == "missing"]:
        return MissingFeatures(missing)
    worst = {}
    for one in readings:
        if one.status == "stale":
            beyond = one.age_seconds - one.max_age_seconds
            if one.feature_view not in worst or beyond > worst[one.feature_view][0]:
                worst[one.feature_view] = beyond, (one.age_seconds, one.max_age_seconds)
    stale = StaleFeatures({view: told for view, (_, told) in worst.items()})
    if worst and stale_features == "refuse":
        return stale
    used = {one.name: one.value for one in readings}
    try:
        labels, probabilities = model.model.predict({name: [used[name]] for name in used})
    except ValueError as unseen:
        return UnseenCategory(unseen.feature, unseen.value)
    seen = {one.feature_view: one.event_timestamp for one in readings}
    return Prediction(
        entity_id=request.entity_id,
        prediction=int(labels[0]),
        probability=float(probabilities[0]),
        features_used=used,
        model=model.version,
        features_as_of=min(seen.values()),
        feature_times=seen,
        warnings=(stale.message,) if worst else (),
        request_id=request.request_id,
        stale_views=tuple(worst),
    )


def told(outcome):
    """An outcome as something to compare, down to the order of what it holds."""
    if isinstance(outcome, NoAnswer):
        return type(outcome), outcome.message, vars(outcome)
    plain = outcome._asdict()
    return plain, [list(plain[part].items()) for part in ("features_used", "feature_times")]


@settings(deadline=None, max_examples=300)
@given(tables(), clocks, st.sampled_from(["refuse", "warn"]))
@example((FEATURES, rows(GOOD)), AT_JANUARY, "refuse")
@example((FEATURES, rows(GOOD, GOOD, (3, "platinum", 0.5, None, True))), AT_JANUARY, "refuse")
def test_many_rows_at_once_are_answered_as_each_judged_and_predicted_alone(
    table, clock, stale_features
):
    drawn, given_rows = table
    model = served(*drawn)
    requests = [ScoringRequest(f"user-{i}", f"request-{i}") for i in range(len(given_rows))]
    together = score(model, requests, given_rows, clock, stale_features)
    alone = [
        judged(model, request, one, clock, stale_features)
        for request, one in zip(requests, given_rows, strict=True)
    ]
    assert [told(one) for one in together] == [told(one) for one in alone]


@settings(deadline=None, max_examples=300)
@given(features, clocks, st.integers(-2, 2), st.booleans())
def test_a_time_before_the_oldest_is_one_at_which_some_feature_is_stale(
    drawn, clock, instants, from_the_limit
):
    needs = schema(*drawn)
    for view, oldest in zip(needs.views, clock.oldest(allowed_ages(needs)), strict=True):
        if oldest.year == 1 and instants < 0:
            continue
        time = (oldest if from_the_limit else JANUARY) + instants * INSTANT
        age = clock.age_seconds(view, time)
        allowed = [one.max_age_seconds for one in drawn if one.feature_view == view]
        stale = any(age > one for one in allowed if one is not None)
        assert (time < oldest) == stale


def test_a_view_of_which_nothing_was_ever_seen_has_no_oldest_time():
    (oldest,) = Clock(FEBRUARY, {}).oldest(allowed_ages(schema(VISITS)))
    assert oldest.year == 1


def test_the_strictest_feature_of_a_view_decides_its_oldest_time():
    strict = Feature("logins", "activity_view", "INT64", nullable=True, max_age_seconds=86400.0)
    needs = schema(VISITS, strict, AMOUNT, MEMBER, PLAN)
    activity, billing = Clock(FEBRUARY).oldest(allowed_ages(needs))
    assert activity == FEBRUARY - timedelta(days=1)
    assert billing.year == 1
