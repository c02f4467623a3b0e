from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.fakes import (
    AMOUNT,
    FEBRUARY,
    JANUARY,
    VISITS,
    FakeOnlineFeatures,
    FakeRegistry,
    assert_problem,
    eventually,
    model,
    serving,
    stocked,
)

from streamflow.api import schemas
from streamflow.errors import UnservableModel


def test_a_prediction_comes_with_what_it_rests_on(service):
    answer = service.predict()
    assert answer.status_code == 200
    assert answer.json() == {
        "user_id": "ann",
        "prediction": 0,
        "probability": 0.1,
        "features_used": {
            "visits": 3,
            "plan": "family",
            "amount": 0.1 + 0.2,
            "coupon": None,
            "member": False,
        },
        "model": {"name": "example_model", "version": 1, "run_id": "run-1", "stage": "Production"},
        "features_as_of": JANUARY.isoformat(),
        "feature_times": {
            "activity_view": JANUARY.isoformat(),
            "billing_view": JANUARY.isoformat(),
        },
        "warnings": [],
        "request_id": answer.headers["x-request-id"],
    }


def test_features_used_keep_their_types_and_the_model_s_order(service):
    used = service.predict().json()["features_used"]
    assert list(used) == ["visits", "plan", "amount", "coupon", "member"]
    assert [type(value) for value in used.values()] == [int, str, float, type(None), bool]


def test_features_are_as_of_the_oldest_view_that_was_used():
    online = stocked()
    online.put("activity_view", "ann", FEBRUARY, visits=9)
    registry = FakeRegistry()
    registry.promote(1, model(0.1))
    with serving(registry, online) as service:
        answer = service.predict().json()
    assert answer["features_as_of"] == JANUARY.isoformat()
    assert answer["feature_times"]["activity_view"] == FEBRUARY.isoformat()


def test_each_feature_is_shown_with_its_status_and_time(service):
    ann = service.client.get("/features/ann").json()
    bob = service.client.get("/features/bob").json()
    assert ann["features"]["coupon"] == {
        "status": "null",
        "value": None,
        "type": "BOOL",
        "feature_view": "billing_view",
        "event_timestamp": JANUARY.isoformat(),
        "age_seconds": 0.0,
        "max_age_seconds": None,
    }
    assert ann["features"]["visits"]["value"] == 3
    assert bob["features"]["visits"]["status"] == "present"
    assert bob["features"]["plan"]["status"] == "missing"
    service.online.put("activity_view", "zoe", FEBRUARY, visits=9)
    eventually(
        lambda: (
            service.client.get("/features/ann").json()["features"]["visits"]["status"] == "stale"
        )
    )


def test_an_id_with_a_slash_has_features_too(service):
    service.online.put("activity_view", "a/b", JANUARY, visits=7)
    answer = service.client.get("/features/a%2Fb").json()
    assert (answer["user_id"], answer["features"]["visits"]["value"]) == ("a/b", 7)


def test_another_use_case_is_asked_by_its_own_key():
    registry, online = FakeRegistry(), FakeOnlineFeatures()
    registry.promote(1, model(0.9, VISITS, join_key="shop-id"))
    online.put("activity_view", "s1", JANUARY, visits=2)
    with serving(registry, online, join_key="shop-id") as service:
        answer = service.client.post("/predict", json={"shop-id": "s1"})
        assert (answer.json()["shop-id"], answer.json()["prediction"]) == ("s1", 1)
        assert service.client.get("/features/s1").json()["shop-id"] == "s1"
        assert_problem(service.predict("s1"), 422, "invalid_request")
        assert "/features/{shop_id}" in service.client.get("/openapi.json").json()["paths"]


def test_answers_are_as_documented(service):
    for make, answer in (
        (schemas.prediction_schema, service.predict()),
        (schemas.features_schema, service.client.get("/features/ann")),
    ):
        schema = make("user_id", "A-1001", "id")
        schema.model_validate_json(answer.text)
        assert set(answer.json()) == set(schema.model_json_schema()["properties"])
        (example,) = schema.model_json_schema()["examples"]
        schema.model_validate(example)
        assert set(example) == set(answer.json())


def test_a_start_without_a_model_serves_as_soon_as_one_is_promoted():
    with serving() as service:
        assert service.predict().status_code == 503
        service.registry.promote(1, model(0.1))
        eventually(lambda: service.version() == 1)


def test_a_model_that_is_there_answers_from_the_first_request(service):
    assert service.version() == 1


def test_promotion_rollback_and_archiving_are_followed(service):
    for version in (2, 1):
        service.registry.promote(version, model(version / 10))
        eventually(lambda version=version: service.version() == version)
    service.registry.archive()
    eventually(lambda: service.predict().status_code == 503)
    assert_problem(service.predict(), 503, "no_production_model")


def test_a_store_that_loses_what_the_served_model_needs_is_told_by_answers_and_readiness(service):
    service.online.known = {"visits"}
    eventually(lambda: service.predict().status_code == 503)
    body = assert_problem(service.predict(), 503, "unservable_model")
    answer = service.client.get("/ready")
    assert (answer.status_code, answer.json()["model"]["code"]) == (503, "unservable_model")
    assert answer.json()["model"]["detail"] == body["detail"]
    service.online.known = None
    eventually(lambda: service.predict().status_code == 200, 10)


def test_a_refused_version_is_shown_while_the_last_good_one_answers(service):
    service.registry.promote(2, UnservableModel("It lacks 'x'.", "Run `streamflow apply`."))
    eventually(lambda: "refused" in service.client.get("/ready").json()["model"])
    answer = service.client.get("/ready")
    assert (answer.status_code, answer.json()["model"]["version"]) == (200, 1)
    assert answer.json()["model"]["refused"] == {
        "version": 2,
        "code": "unservable_model",
        "detail": "It lacks 'x'.",
        "next": "Run `streamflow apply`.",
    }
    assert service.version() == 1


def test_swaps_under_load_drop_nothing_and_never_mix_two_models():
    kinds = {1: model(0.1, VISITS), 2: model(0.9, AMOUNT), 3: model(0.4, AMOUNT, VISITS)}
    receipts = {
        version: (kind.schema.features, float(kind.score([[0.0]])[1][0]))
        for version, kind in kinds.items()
    }
    registry = FakeRegistry()
    registry.promote(1, kinds[1])
    done = threading.Event()
    seen: Counter[int] = Counter()

    with serving(registry) as service:

        def ask():
            counted: Counter[int] = Counter()
            while not done.is_set():
                answer = service.predict()
                assert answer.status_code == 200
                body = answer.json()
                version = body["model"]["version"]
                features, probability = receipts[version]
                assert list(body["features_used"]) == [feature.name for feature in features]
                assert body["probability"] == probability
                counted[version] += 1
            return counted

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            try:
                for version in (2, 3, 1, 2, 3):
                    registry.promote(version, kinds[version])
                    eventually(lambda version=version: service.version() == version)
            finally:
                done.set()
            for future in asking:
                seen += future.result()
    assert set(seen) == {1, 2, 3}
