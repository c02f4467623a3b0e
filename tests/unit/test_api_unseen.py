"""Entities without a row, and values that training never saw: over HTTP, alone and in a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes import (
    COUPON,
    DAY,
    FEBRUARY,
    JANUARY,
    PLAN,
    VISITS,
    FakeKeyStore,
    FakeOnlineFeatures,
    FakeRegistry,
    Service,
    assert_problem,
    model,
    serving,
)

from streamflow.api import schemas
from streamflow.training.served_model import Feature

TICKETS = Feature("tickets", "support_view", "INT64", nullable=False, absent="null")


@contextmanager
def asked(*features: Feature, plainly: bool = False, **given: Any) -> Iterator[Service]:
    """The API over `ann`, who never needed support, `bob`, who did, and `eve` of an unknown plan
    and coupon; `plainly` without the direct HTTP path."""
    registry, online = FakeRegistry(), FakeOnlineFeatures()
    registry.promote(1, model(0.1, *features))
    for entity_id in ("ann", "bob", "eve"):
        plan = "platinum" if entity_id == "eve" else "family"
        online.put("activity_view", entity_id, JANUARY, visits=3)
        coupon = None if entity_id == "eve" else True
        online.put("billing_view", entity_id, JANUARY, plan=plan, coupon=coupon)
    online.put("support_view", "bob", JANUARY, tickets=2)
    with serving(registry, online, **given) as service:
        if plainly:
            service.client.app.app.direct_handlers = {}
        yield service


paths = pytest.mark.parametrize("plainly", [False, True], ids=["direct", "plain"])


@paths
def test_an_entity_without_a_row_is_answered_with_nulls_and_a_receipt_that_says_so(
    plainly: bool,
) -> None:
    with asked(VISITS, TICKETS, plainly=plainly) as service:
        answer = service.predict("ann")
        assert answer.status_code == 200
        ann, bob = answer.json(), service.predict("bob").json()
        assert ann["features_used"] == {"visits": 3, "tickets": None}
        january = ann["features_as_of"]
        assert ann["feature_times"] == {"activity_view": january, "support_view": None}
        assert bob["features_used"] == {"visits": 3, "tickets": 2}
        schemas.prediction_schema("user_id", "ann", "id").model_validate_json(answer.text)
        batch = service.client.post("/predict/batch", json={"user_ids": ["ann", "bob"]})
        schemas.batch_schema("user_id", "ann", "id").model_validate_json(batch.text)
        for row, alone in zip(batch.json()["predictions"], (ann, bob), strict=True):
            assert row == {name: alone[name] for name in row}
        features = service.client.get("/features/ann")
        schemas.features_schema("user_id", "ann", "id").model_validate_json(features.text)
        tickets = features.json()["features"]["tickets"]
        told = (tickets["status"], tickets["value"], tickets["event_timestamp"])
        assert told == ("absent", None, None)


@paths
def test_by_the_rule_refuse_an_entity_without_a_row_is_not_answered(plainly: bool) -> None:
    with asked(VISITS, replace(TICKETS, absent="refuse"), plainly=plainly) as service:
        body = assert_problem(service.predict("ann"), 422, "missing_features")
        assert body["missing_features"] == ["tickets"]
        assert service.predict("bob").status_code == 200


@paths
def test_a_null_that_training_never_saw_is_a_problem_of_its_own(plainly: bool) -> None:
    with asked(VISITS, replace(COUPON, null_seen=False), plainly=plainly) as service:
        body = assert_problem(service.predict("eve"), 422, "unseen_null")
        assert body["feature"] == "coupon"
        rows = service.client.post("/predict/batch", json={"user_ids": ["eve", "ann"]}).json()
        eve, ann = rows["predictions"]
        assert (eve["problem"]["code"], ann["warnings"]) == ("unseen_null", [])
    allowed = replace(COUPON, null_seen=False, unseen="warn")
    with asked(VISITS, allowed, plainly=plainly) as service:
        warned = service.predict("eve").json()
        assert warned["warnings"] == [body["detail"]]
        assert service.predict("ann").json()["warnings"] == []


@paths
def test_no_problem_of_an_entitys_data_is_audited_as_an_attempt(plainly: bool) -> None:
    store = FakeKeyStore()
    nullable = replace(COUPON, null_seen=False)
    with asked(VISITS, PLAN, plainly=plainly, key_store=store) as service:
        assert_problem(service.predict("eve"), 422, "unseen_category")
    with asked(VISITS, nullable, plainly=plainly, key_store=store) as service:
        assert_problem(service.predict("eve"), 422, "unseen_null")
    assert store.entries == []
    with asked(VISITS, plainly=plainly, key_store=store) as service:
        assert_problem(service.predict("nobody"), 404, "unknown_entity")
    assert [entry.request.code for entry in store.entries] == ["unknown_entity"]


@paths
def test_a_category_that_training_never_saw_is_warned_of_where_that_is_allowed(
    plainly: bool,
) -> None:
    with asked(VISITS, replace(PLAN, unseen="warn"), plainly=plainly) as service:
        (warning,) = service.predict("eve").json()["warnings"]
        assert "'platinum'" in warning
        assert service.predict("ann").json()["warnings"] == []
    with asked(VISITS, replace(PLAN, unseen="other"), plainly=plainly) as service:
        assert service.predict("eve").json()["warnings"] == []


def test_with_ages_from_now_a_row_is_missed_only_while_its_table_is_young_enough() -> None:
    features = (VISITS, replace(TICKETS, max_age_seconds=40 * DAY))
    given = {"freshness_clock": "now", "stale_features": "refuse"}
    visits = replace(VISITS, max_age_seconds=None)
    with asked(visits, features[1], now=FEBRUARY, **given) as service:
        assert service.predict("ann").status_code == 200
    old = replace(TICKETS, max_age_seconds=20 * DAY)
    with asked(visits, old, now=FEBRUARY, **given) as service:
        body = assert_problem(service.predict("ann"), 409, "stale_features")
        assert list(body["ages"]) == ["support_view"]
        tickets = service.client.get("/features/ann").json()["features"]["tickets"]
        assert (tickets["status"], tickets["age_seconds"]) == ("stale", 29 * DAY)
