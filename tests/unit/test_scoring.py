from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.fakes import (
    AMOUNT,
    COUPON,
    FEATURES,
    FEBRUARY,
    JANUARY,
    MEMBER,
    PLAN,
    VISITS,
    from_now,
    schema,
)

from streamflow.errors import (
    MissingFeatures,
    NoAnswer,
    StaleFeatures,
    UnknownEntity,
    UnseenCategory,
    UnseenNull,
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
    clock = from_now(JANUARY + 30 * DAY)
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
    (stale,) = answers(served(*features), rows((1, 2), views=1), from_now(JANUARY + 30 * DAY))
    assert stale.ages == {"activity_view": (30 * day, day)}


def test_what_is_missing_is_told_rather_than_what_is_old():
    (told,) = answers(served(), rows((3, None, 0.5, None, True)), from_now(FEBRUARY), "warn")
    assert isinstance(told, MissingFeatures)
    assert told.features == ["plan"]


def test_features_are_as_of_the_oldest_view():
    given = EntityRow((FEBRUARY, JANUARY), GOOD)
    (one,) = answers(served(), [given], from_now(FEBRUARY))
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


SCORE = Feature("score", "support_view", "FLOAT64", False, 20 * 86400.0, absent="null")
REASON = Feature("reason", "support_view", "STRING", True, 20 * 86400.0, ("a", "b"), absent="null")


def test_an_entity_without_a_row_is_scored_with_nulls_where_the_table_says_so():
    given = [
        EntityRow((JANUARY, None), (3, None, None)),
        EntityRow((JANUARY, JANUARY), (3, 0.5, "a")),
        EntityRow((JANUARY, JANUARY), (3, None, "a")),
        EntityRow((None, JANUARY), (None, 0.5, "a")),
        EntityRow((None, None), (None, None, None)),
    ]
    model = served(VISITS, SCORE, REASON)
    absent, present, null, missing, unknown = answers(model, given)
    assert absent.features_used == {"visits": 3, "score": None, "reason": None}
    assert absent.feature_times == {"activity_view": JANUARY, "support_view": None}
    assert (absent.features_as_of, absent.warnings) == (JANUARY, ())
    assert present.features_used["score"] == 0.5
    # A row that is there may not have the null.
    assert isinstance(null, MissingFeatures)
    assert isinstance(missing, MissingFeatures)
    assert isinstance(unknown, UnknownEntity)
    (required,) = answers(model, [EntityRow((JANUARY, None), (None, None, None))])
    assert isinstance(required, MissingFeatures)
    assert required.features == ["visits"]
    # By the rule "refuse", which models of before have, nobody is scored without a row.
    (refused,) = answers(
        served(VISITS, replace(SCORE, absent="refuse")), [EntityRow((JANUARY, None), (3, None))]
    )
    assert isinstance(refused, MissingFeatures)
    assert refused.features == ["score"]


def test_a_row_older_than_the_table_allows_is_as_good_as_none():
    """In training the join doesn't find it either."""
    model = served(VISITS, SCORE)
    given = [EntityRow((FEBRUARY, FEBRUARY - 20 * DAY), (3, 0.5))]
    given.append(EntityRow((FEBRUARY, FEBRUARY - 20 * DAY - INSTANT), (3, 0.5)))
    newest = dict.fromkeys(VIEWS, FEBRUARY)
    young, old = answers(model, given, Clock(FEBRUARY, newest))
    assert young.features_used["score"] == 0.5
    assert old.features_used["score"] is None
    assert old.feature_times == {"activity_view": FEBRUARY, "support_view": None}

    statuses = [
        feature_readings(model.schema, "ann", one, Clock(FEBRUARY, newest)) for one in given
    ]
    assert [readings[1].status for readings in statuses] == ["present", "absent"]


def test_an_entity_without_any_row_that_is_young_enough_is_not_scored_on_nothing():
    clock = Clock(FEBRUARY, dict.fromkeys(VIEWS, FEBRUARY))
    old = EntityRow((FEBRUARY - 21 * DAY,), (0.5,))
    for setting in ("refuse", "warn"):
        (one,) = answers(served(SCORE), [old], clock, setting)
        if setting == "refuse":
            assert isinstance(one, StaleFeatures)
        else:
            assert one.features_used == {"score": 0.5}


def test_a_missing_row_says_nothing_while_its_table_was_never_loaded_or_is_too_old():
    model = served(VISITS, SCORE)
    given = [EntityRow((FEBRUARY, None), (3, None))]
    (never,) = answers(model, given, Clock(FEBRUARY, {"activity_view": FEBRUARY}))
    assert isinstance(never, MissingFeatures)
    loaded = {"activity_view": FEBRUARY, "support_view": FEBRUARY - 21 * DAY}
    (stale,) = answers(model, given, Clock(FEBRUARY, loaded, from_now=True))
    assert isinstance(stale, StaleFeatures)
    assert list(stale.ages) == ["support_view"]
    (as_of_its_month,) = answers(model, given, Clock(FEBRUARY, loaded))
    assert isinstance(as_of_its_month, Prediction)


@pytest.mark.parametrize("feature", [COUPON, replace(PLAN, nullable=True)], ids=["BOOL", "STRING"])
def test_a_null_that_training_never_saw_is_refused_warned_of_or_taken_as_other(feature):
    (null,) = rows((None,), views=1)
    (seen,) = answers(served(feature), [null])
    assert seen.warnings == ()
    strict = replace(feature, null_seen=False)
    (refused,) = answers(served(strict), [null])
    assert isinstance(refused, UnseenNull)
    assert (refused.feature, refused.code) == (feature.name, "unseen_null")
    (warned,) = answers(served(replace(strict, unseen="warn")), [null])
    assert warned.warnings == (refused.message,)
    if feature.type == "STRING":
        (other,) = answers(served(replace(strict, unseen="other")), [null])
        assert other.warnings == ()


def test_a_category_that_training_never_saw_is_warned_of_or_taken_as_other():
    (row,) = rows(("platinum",), views=1)
    (refused,) = answers(served(PLAN), [row])
    (warned,) = answers(served(replace(PLAN, unseen="warn")), [row])
    (other,) = answers(served(replace(PLAN, unseen="other")), [row])
    assert isinstance(refused, UnseenCategory)
    assert warned.warnings == (refused.message,)
    assert other.warnings == ()
    assert other.probability == warned.probability
    assert other.features_used == {"plan": "platinum"}


# Ages as a feature view's ttl has them, some of them longer than there have been years.
ages = st.one_of(
    st.none(),
    st.sampled_from([0.0, 1e-6, 86400.0, 20 * 86400.0, 400 * 365 * 86400.0, 1e12]),
    st.timedeltas(timedelta(0), timedelta(days=60)).map(timedelta.total_seconds),
)
kinds = st.sampled_from(["INT64", "FLOAT64", "BOOL", "STRING"])
# The rules for an absent row are per view, as a table has one.
rules = st.fixed_dictionaries(dict.fromkeys(VIEWS, st.sampled_from(["refuse", "null"])))


@st.composite
def features(draw):
    absent = draw(rules)
    drawn = []
    for number in range(draw(st.integers(1, 6))):
        view, kind = draw(st.sampled_from(VIEWS)), draw(kinds)
        unseen = ["refuse", "warn", "other"] if kind == "STRING" else ["refuse", "warn"]
        drawn.append(
            Feature(
                f"f{number}",
                view,
                kind,
                nullable=draw(st.booleans()),
                max_age_seconds=draw(ages),
                categories=("a", "b") if kind == "STRING" else (),
                absent=absent[view],
                unseen=draw(st.sampled_from(unseen)),
                null_seen=draw(st.booleans()),
            )
        )
    return tuple(drawn)


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
    moments.map(from_now),
    st.builds(
        Clock,
        st.just(FEBRUARY),
        st.dictionaries(st.sampled_from(VIEWS), moments),
        st.sampled_from([False, False, True]),
    ),
)


@st.composite
def tables(draw):
    """Features, and rows of what a store may have of them."""
    drawn = draw(features())
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
    warnings = [stale.message] if worst else []
    for feature, one in zip(model.schema.features, readings, strict=True):
        if one.value is None and not feature.null_seen:
            unseen = UnseenNull(feature.name)
        elif one.value is not None and feature.categories and one.value not in feature.categories:
            unseen = UnseenCategory(feature.name, one.value)
        else:
            continue
        if feature.unseen == "refuse":
            return unseen
        if feature.unseen == "warn":
            warnings.append(unseen.message)
    used = {one.name: one.value for one in readings}
    labels, probabilities = model.model.predict({name: [used[name]] for name in used})
    seen = {one.feature_view: one.event_timestamp for one in readings}
    return Prediction(
        entity_id=request.entity_id,
        prediction=int(labels[0]),
        probability=float(probabilities[0]),
        features_used=used,
        model=model.version,
        features_as_of=min(time for time in seen.values() if time is not None),
        feature_times=seen,
        warnings=tuple(warnings),
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
@example(
    (
        (
            Feature("visits", "activity_view", "INT64", nullable=False),
            Feature("amount", "billing_view", "INT64", nullable=False, absent="null"),
        ),
        [EntityRow((JANUARY, None), (3, 5))],  # a value without a time is nobody's
    ),
    AT_JANUARY,
    "refuse",
)
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
@given(features(), clocks, st.integers(-2, 2), st.booleans())
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
    activity, billing = from_now(FEBRUARY).oldest(allowed_ages(needs))
    assert activity == FEBRUARY - timedelta(days=1)
    assert billing.year == 1
