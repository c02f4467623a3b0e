from __future__ import annotations

import json
import re

import pytest
from tests.fakes import FEBRUARY, FakeRegistry, assert_problem, eventually, model, serving, stocked

from streamflow import errors
from streamflow.api import problems


def test_without_a_production_model_the_answer_is_no_production_model():
    with serving() as service:
        assert_problem(service.predict(), 503, "no_production_model")
        assert_problem(service.client.get("/features/ann"), 503, "no_production_model")


def test_an_id_that_nobody_has_is_an_unknown_entity(service):
    body = assert_problem(service.predict("nobody"), 404, "unknown_entity")
    assert "'nobody'" in body["detail"]
    assert_problem(service.client.get("/features/nobody"), 404, "unknown_entity")


def test_missing_features_are_listed(service):
    body = assert_problem(service.predict("bob"), 422, "missing_features")
    assert body["missing_features"] == ["plan", "amount", "coupon", "member"]


def test_stale_features_are_refused_with_their_ages(service):
    service.online.put("activity_view", "zoe", FEBRUARY, visits=9)
    eventually(lambda: service.predict().status_code == 409)
    body = assert_problem(service.predict(), 409, "stale_features")
    assert body["ages"] == {
        "activity_view": {"age_seconds": 29 * 86400.0, "max_age_seconds": 20 * 86400.0}
    }


def test_a_feature_store_that_is_down_is_told(service):
    service.online.down()
    assert_problem(service.predict(), 503, "feature_store_unavailable")
    assert_problem(service.client.get("/features/ann"), 503, "feature_store_unavailable")


def test_a_value_that_training_never_saw_is_not_guessed_at(service):
    assert assert_problem(service.predict("eve"), 422, "unseen_category")["feature"] == "plan"


def test_a_setting_makes_staleness_a_warning():
    registry = FakeRegistry()
    registry.promote(1, model(0.1))
    with serving(registry, freshness_clock="now", stale_features="warn") as service:
        answer = service.predict()
    assert answer.status_code == 200
    (warning,) = answer.json()["warnings"]
    assert "activity_view is 29 days old" in warning


def test_the_present_moment_can_be_the_clock():
    registry = FakeRegistry()
    registry.promote(1, model(0.1))
    with serving(registry, freshness_clock="now") as service:
        assert_problem(service.predict(), 409, "stale_features")


def test_features_of_unknown_age_are_not_passed_for_fresh():
    registry, online = FakeRegistry(), stocked()
    registry.promote(1, model(0.1))
    online.newest_event_timestamps = lambda: 1 / 0
    with serving(registry, online) as service:
        assert_problem(service.predict(), 503, "feature_store_unavailable")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"ann"',
        b"{}",
        b'{"user_id": null}',
        b'{"user_id": 3}',
        b'{"user_id": true}',
        b'{"user_id": ["ann"]}',
        b'{"user_id": ""}',
        b'{"user_id": "a\\nb"}',
        b'{"user_id": "a\\u0000"}',
        b'{"user_id": "a\\u202eb"}',
        b'{"user_id": "\\ud800"}',
        b'{"user_id": "\xff"}',
        b'{"user_id": "ann", "other": 1}',
        b'{"user_id": "ann", "\\ud800": 1}',
        json.dumps({"user_id": "x" * 65}).encode(),
        b"[" * 20_000,
    ],
)
def test_a_request_that_is_not_valid_is_told_so(service, content):
    answer = service.client.post(
        "/predict", content=content, headers={"Content-Type": "application/json"}
    )
    body = assert_problem(answer, 422, "invalid_request")
    assert body["errors"][0]["field"].startswith("body")


def test_the_longest_id_is_a_valid_one(service):
    assert_problem(service.predict("x" * 64), 404, "unknown_entity")
    assert_problem(service.client.get("/features/" + "x" * 65), 422, "invalid_request")


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_is_not_sent_as_json_is_not_read_as_json(service, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    answer = service.client.post("/predict", content=b'{"user_id": "ann"}', headers=headers)
    body = assert_problem(answer, 422, "invalid_request")
    assert "application/json" in body["detail"]


def test_a_large_body_is_refused_whether_it_says_its_size_or_not(service):
    large = json.dumps({"user_id": "x" * 70_000}).encode()
    headers = {"Content-Type": "application/json"}
    told = service.client.post("/predict", content=large, headers=headers)
    untold = service.client.post(
        "/predict", content=(large[i : i + 999] for i in range(0, len(large), 999)), headers=headers
    )
    assert "content-length" in told.request.headers
    assert "content-length" not in untold.request.headers
    assert_problem(told, 413, "content_too_large")
    assert_problem(untold, 413, "content_too_large")


def test_unknown_addresses_and_methods_are_problems_too(service):
    assert_problem(service.client.get("/nothing"), 404, "not_found")
    assert_problem(service.client.post("/predict/"), 404, "not_found")
    answer = service.client.get("/predict")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


def test_an_unforeseen_failure_tells_nothing_of_its_inside(service):
    service.online.read = lambda references, rows: [][0]
    answer = service.predict()
    assert_problem(answer, 500, "internal_error")
    assert "index" not in answer.text


def test_an_error_that_is_not_the_client_s_to_see_tells_nothing_either(service):
    def read(references, rows):
        raise errors.ModelRefused("auc is 0.5", "Train again.")

    service.online.read = read
    answer = service.predict()
    assert_problem(answer, 500, "internal_error")
    assert "auc" not in answer.text


def test_every_reason_for_no_answer_has_a_status_of_its_own():
    for kind in errors.NoAnswer.__subclasses__():
        assert problems.STATUSES[kind][0] < 500 or kind is errors.NoProductionModel


def test_every_error_is_in_the_tree_of_errors():
    def below(kind):
        for one in kind.__subclasses__():
            yield from (one, *below(one))

    named = set(re.findall(r"\w+", errors.__doc__))
    for kind in below(errors.StreamFlowError):
        if kind.__module__.startswith("streamflow."):
            assert kind.__name__ in named
            assert kind.__doc__ is not errors.StreamFlowError.__doc__


def test_the_documentation_shows_every_problem_with_an_example(service):
    paths = service.client.get("/openapi.json").json()["paths"]
    documented = {
        (int(status), code)
        for path in paths.values()
        for operation in path.values()
        for status, answer in operation["responses"].items()
        for code in answer["content"].get("application/problem+json", {}).get("examples", {})
    }
    # These two speak of addresses that aren't there, so no address can document them.
    elsewhere = {(404, "not_found"), (405, "method_not_allowed")}
    every = {
        (status, kind.code.fget(kind.__new__(kind)))
        for kind, (status, _) in problems.STATUSES.items()
    }
    assert documented == every - elsewhere
    predict = paths["/predict"]["post"]["responses"]
    assert "application/json" not in predict["422"]["content"]
    missing = predict["422"]["content"]["application/problem+json"]["examples"]["missing_features"]
    assert missing["value"]["missing_features"]
    assert service.client.get("/docs").status_code == 200


def test_each_failure_answers_as_its_documented_example_does(service):
    paths = service.client.get("/openapi.json").json()["paths"]
    for entity_id in ("nobody", "bob", "eve"):
        body = service.predict(entity_id).json()
        answer = paths["/predict"]["post"]["responses"][str(body["status"])]
        example = answer["content"]["application/problem+json"]["examples"][body["code"]]["value"]
        assert body.keys() == example.keys()
        assert (body["type"], body["title"]) == (example["type"], example["title"])
