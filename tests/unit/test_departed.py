"""Entities that have left: by the rule alone, and over HTTP, alone and in a batch."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import (
    DAY,
    FEBRUARY,
    JANUARY,
    FakeOnlineFeatures,
    FakeRegistry,
    assert_problem,
    schema,
    serving,
)

from streamflow.registry.records import ModelVersion
from streamflow.serving.feature_status import (
    MISSING,
    Clock,
    Departed,
    EntityRow,
    absent_views,
    feature_readings,
)
from streamflow.serving.scoring import Prediction, ScoringRequest, Served, score
from streamflow.training.served_model import Feature, FeatureSchema, ServedModel

VERSION = ModelVersion("example_model", 3, "run-3", "Production", (), {}, "hash")
VIEWS = ("activity_view", "billing_view", "support_view")
INSTANT = timedelta(microseconds=1)

# One feature of any age per view, which may all lack a row.
FEATURES = tuple(
    Feature(f"feature_{number}", view, "INT64", nullable=True, absent="null")
    for number, view in enumerate(VIEWS)
)


def with_rule(days: float | None) -> FeatureSchema:
    seconds = None if days is None else days * DAY
    return replace(schema(*FEATURES), departed_after_seconds=seconds)


def served(rule: FeatureSchema) -> Served:
    def score_all(matrix: Any) -> Any:
        return np.zeros(len(matrix), np.int64), np.zeros(len(matrix))

    return Served(VERSION, ServedModel(rule, score_all))


def answers(rule: FeatureSchema, rows: list[EntityRow], clock: Clock) -> list[Any]:
    requests = [ScoringRequest(f"user-{number}", "request") for number in range(len(rows))]
    return score(served(rule), requests, rows, clock, "refuse")


def row(*times: datetime | None) -> EntityRow:
    return EntityRow(times, tuple(None if time is None else 1 for time in times))


def loaded(*months: datetime) -> Clock:
    """By a clock of today, by which nothing is too old."""
    return Clock(FEBRUARY, dict(zip(VIEWS, months, strict=False)))


def test_an_entity_is_scored_until_its_newest_row_is_older_than_the_rule_allows() -> None:
    limit = FEBRUARY - 45 * timedelta(days=1)
    given = [row(limit, None, None), row(limit - INSTANT, None, None)]
    there, departed = answers(with_rule(45), given, loaded(FEBRUARY, FEBRUARY, FEBRUARY))
    assert isinstance(there, Prediction)
    assert isinstance(departed, Departed)
    assert (departed.last_seen, departed.newest_month) == (date(2024, 1, 15), date(2024, 2, 29))
    assert departed.code == "departed"
    assert "'user-1' was last seen in the month 2024-01-15" in departed.message


def test_without_a_rule_nobody_departs() -> None:
    given = [row(JANUARY - timedelta(days=4000), None, None)]
    (one,) = answers(with_rule(None), given, loaded(FEBRUARY, FEBRUARY, FEBRUARY))
    assert isinstance(one, Prediction)


def test_one_row_of_the_newest_month_is_enough_to_be_there() -> None:
    given = [row(JANUARY, None, FEBRUARY), row(JANUARY, JANUARY, None)]
    there, departed = answers(with_rule(0), given, loaded(FEBRUARY, FEBRUARY, FEBRUARY))
    assert isinstance(there, Prediction)
    assert isinstance(departed, Departed)


def test_while_a_month_is_only_in_some_of_the_views_nobody_departs_for_it() -> None:
    """The entity's row may be in the view that is still being materialized."""
    given = [row(None, JANUARY, None)]
    (one,) = answers(with_rule(0), given, loaded(FEBRUARY, JANUARY, FEBRUARY))
    assert isinstance(one, Prediction)


def test_a_month_that_is_newer_than_the_newest_known_one_counts() -> None:
    """It was materialized after the newest month was read."""
    (one,) = answers(with_rule(0), [row(FEBRUARY, None, None)], loaded(*[JANUARY] * 3))
    assert isinstance(one, Prediction)


def test_a_view_whose_features_are_not_recorded_any_more_does_not_hold_the_month_back() -> None:
    clock = Clock(
        FEBRUARY,
        dict.fromkeys(VIEWS, FEBRUARY),
        recorded={"billing_view": JANUARY, "support_view": JANUARY},
    )
    gone, there = row(JANUARY, JANUARY, JANUARY), row(FEBRUARY, JANUARY, None)
    one, other = answers(with_rule(0), [gone, there], clock)
    assert isinstance(one, Departed)
    assert isinstance(other, Prediction)
    # If no view's features are, nothing is known after their last month.
    all_recorded = replace(clock, recorded=dict.fromkeys(VIEWS, JANUARY))
    (kept,) = answers(with_rule(0), [gone], all_recorded)
    assert isinstance(kept, Prediction)


def test_who_departed_is_told_before_what_is_missing_or_too_old() -> None:
    features = (replace(FEATURES[0], nullable=False, max_age_seconds=DAY), *FEATURES[1:])
    rule = replace(schema(*features), departed_after_seconds=0.0)
    given = [EntityRow((JANUARY, None, None), (value, None, None)) for value in (MISSING, 1)]
    for one in answers(rule, given, loaded(FEBRUARY, FEBRUARY, FEBRUARY)):
        assert isinstance(one, Departed)


months = st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], dict[str, list[set[int]]]]:
    """The months that were materialized, and per entity the months of its rows in each view."""
    there = sorted(draw(months))
    entity = st.lists(st.sets(st.sampled_from(there)), min_size=3, max_size=3)
    return there, draw(st.dictionaries(st.sampled_from("abcd"), entity, min_size=1))


@settings(deadline=None, max_examples=300)
@given(histories(), st.one_of(st.none(), st.integers(0, 6)), st.booleans())
def test_serving_agrees_with_the_rule_in_plain_words(
    history: tuple[list[int], dict[str, list[set[int]]]], allowed: int | None, by_now: bool
) -> None:
    """An entity has departed if more than `allowed` of the calendar has passed between the last
    month in which anything speaks of it and the newest month."""
    there, entities = history
    start = datetime(2024, 1, 31, 23, 59, 59, 999999, UTC)

    def moment(month: int) -> datetime:
        return start + timedelta(days=30) * month

    clock = Clock(moment(40), dict.fromkeys(VIEWS, moment(there[-1])), by_now)
    rule = with_rule(None if allowed is None else allowed * 30)
    rows = [
        row(*[moment(max(seen)) if seen else None for seen in views]) for views in entities.values()
    ]
    for views, given_row, one in zip(
        entities.values(), rows, answers(rule, rows, clock), strict=True
    ):
        last = max((month for seen in views for month in seen), default=None)
        gone = last is not None and allowed is not None and there[-1] - last > allowed
        assert isinstance(one, Departed) == gone
        if isinstance(one, Departed):
            assert last is not None
            assert one.last_seen == moment(last).date()
            assert one.newest_month == moment(there[-1]).date()
            with pytest.raises(Departed):
                feature_readings(rule, "user", given_row, clock)
        elif last is not None:
            assert isinstance(one, Prediction)
            lacking = absent_views(rule, given_row, clock)
            assert set(lacking) == {
                view for view, seen in zip(VIEWS, views, strict=True) if not seen
            }


def test_over_http_the_answer_names_the_last_month_and_others_of_the_batch_have_theirs() -> None:
    registry, online = FakeRegistry(), FakeOnlineFeatures()
    registry.promote(1, served(with_rule(20)).model)
    for view in VIEWS:
        online.put(view, "gone", JANUARY, **{one.name: 1 for one in FEATURES})
        online.put(view, "there", FEBRUARY, **{one.name: 1 for one in FEATURES})
    online.put("activity_view", "late", FEBRUARY - timedelta(days=20), feature_0=1)
    for plainly in (False, True):
        with serving(registry, online) as service:
            if plainly:
                service.client.app.app.direct_handlers = {}
            for answer in (service.predict("gone"), service.client.get("/features/gone")):
                body = assert_problem(answer, 409, "departed")
                assert (body["last_seen"], body["newest_month"]) == ("2024-01-31", "2024-02-29")
            assert service.predict("late").status_code == 200
            ids = ["there", "gone", "late", "nobody"]
            batch = service.client.post("/predict/batch", json={"user_ids": ids}).json()
            problems = [one.get("problem", {}).get("code") for one in batch["predictions"]]
            assert problems == [None, "departed", None, "unknown_entity"]
            assert 'streamflow_problems_total{code="departed"' in service.metrics()


def test_while_the_newest_month_is_not_known_nobody_is_scored() -> None:
    registry, online = FakeRegistry(), FakeOnlineFeatures()
    registry.promote(1, served(with_rule(20)).model)
    online.put("activity_view", "ann", FEBRUARY, feature_0=1)
    online.newest_event_timestamps = lambda: 1 / 0  # type: ignore[assignment, return-value]
    with serving(registry, online, freshness_clock="now") as service:
        assert_problem(service.predict("ann"), 503, "feature_store_unavailable")
