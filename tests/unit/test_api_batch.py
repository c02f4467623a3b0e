from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from tests.fakes import (
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

from streamflow.api import limits, schemas
from streamflow.serving.batching import MAX_BATCH
from streamflow.training.served_model import ServedModel

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def plain_service():
    """The same, answered by FastAPI's own routes alone."""
    with plainly() as service:
        yield service


@contextmanager
def plainly():
    registry = FakeRegistry()
    registry.promote(1, model(0.1))
    with serving(registry) as service:
        service.client.app.app.direct_handlers = {}
        yield service


@pytest.fixture(scope="module")
def pair():
    """One of each, for tests that change nothing in them: a start takes longer than such a test."""
    registry = FakeRegistry()
    registry.promote(1, model(0.1))
    with serving(registry) as service, plainly() as plain_service:
        yield service, plain_service


def batch(service, *entity_ids, **headers):
    return service.client.post("/predict/batch", json={"user_ids": entity_ids}, headers=headers)


def many_visitors(number):
    """A store in which `u7` has seven visits, and a model that tells them in thousandths."""
    online = FakeOnlineFeatures()
    for visits in range(number):
        online.put("activity_view", f"u{visits}", JANUARY, visits=visits)
    constant = model(0.0, VISITS)

    def score(matrix):
        return (matrix[:, 0] % 2).astype("int64"), matrix[:, 0] / 1000

    registry = FakeRegistry()
    registry.promote(1, ServedModel(constant.schema, score))
    return registry, online


def test_each_id_of_a_batch_has_the_answer_that_it_has_alone(service):
    entity_ids = ["ann", "nobody", "bob", "eve", "ann"]
    answer = batch(service, *entity_ids)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    rows = answer.json()["predictions"]
    assert [row["user_id"] for row in rows] == entity_ids
    for row in rows:
        alone = service.predict(row["user_id"]).json()
        shared = row.get("problem", row)
        assert shared == {name: alone[name] for name in shared}
        assert ("problem" in row) == ("code" in alone)
    assert list(rows[0]) == [
        *("user_id", "prediction", "probability", "features_used"),
        *("features_as_of", "feature_times", "warnings"),
    ]
    assert rows[1].keys() == {"user_id", "problem"}
    assert rows[1]["problem"].keys() == {"code", "detail", "next"}


def test_a_batch_names_the_model_that_answered_all_of_it(service):
    body = batch(service, "ann", "nobody", **{"X-Request-ID": "trace-42"}).json()
    assert body["model"] == service.predict().json()["model"]
    assert body["request_id"] == "trace-42"


def test_a_batch_is_answered_as_documented(service):
    answer = batch(service, "ann", "nobody")
    schema = schemas.batch_schema("user_id", "A-1001", "id")
    schema.model_validate_json(answer.text)
    assert set(answer.json()) == set(schema.model_json_schema()["properties"])
    (example,) = schema.model_json_schema()["examples"]
    schema.model_validate(example)
    told = answer.json()["predictions"]
    assert [row.keys() for row in example["predictions"]] == [row.keys() for row in told]


def test_another_use_case_s_batch_is_asked_by_its_own_key():
    registry, online = FakeRegistry(), FakeOnlineFeatures()
    registry.promote(1, model(0.9, VISITS, join_key="shop-id"))
    online.put("activity_view", "s1", JANUARY, visits=2)
    with serving(registry, online, join_key="shop-id") as service:
        answer = service.client.post("/predict/batch", json={"shop-ids": ["s1"]})
        assert [row["shop-id"] for row in answer.json()["predictions"]] == ["s1"]
        assert_problem(batch(service, "s1"), 422, "invalid_request")


@pytest.mark.parametrize("number", [63, 64, MAX_BATCH])
def test_a_batch_of_any_size_has_its_answers_in_order(number):
    registry, online = many_visitors(number)
    with serving(registry, online) as service:
        entity_ids = [f"u{visits}" for visits in reversed(range(number))]
        rows = batch(service, *entity_ids).json()["predictions"]
    assert [row["user_id"] for row in rows] == entity_ids
    assert [row["probability"] for row in rows] == [n / 1000 for n in reversed(range(number))]
    assert [row["prediction"] for row in rows] == [n % 2 for n in reversed(range(number))]


def test_singles_and_batches_at_the_same_time_each_get_their_own_answers():
    registry, online = many_visitors(100)

    def ask(number):
        if number % 3:
            answer = service.predict(f"u{number}").json()
            return [answer["user_id"]], [answer["probability"]]
        entity_ids = [f"u{number}", f"u{99 - number}"]
        rows = batch(service, *entity_ids).json()["predictions"]
        return [row["user_id"] for row in rows], [row["probability"] for row in rows]

    with serving(registry, online) as service, ThreadPoolExecutor(8) as pool:
        told = list(pool.map(ask, range(100)))
    for number, (entity_ids, probabilities) in enumerate(told):
        wanted = [number] if number % 3 else [number, 99 - number]
        assert entity_ids == [f"u{one}" for one in wanted]
        assert probabilities == [one / 1000 for one in wanted]


def test_stale_features_in_a_batch_are_refused_or_warned_of_as_the_setting_says():
    for setting in ("refuse", "warn"):
        registry = FakeRegistry()
        registry.promote(1, model(0.1))
        with serving(registry, freshness_clock="now", stale_features=setting) as service:
            (row,) = batch(service, "ann").json()["predictions"]
        if setting == "refuse":
            assert row["problem"]["code"] == "stale_features"
        else:
            assert "activity_view is 29 days old" in row["warnings"][0]


def test_without_a_production_model_a_batch_is_one_problem():
    with serving() as service:
        assert_problem(batch(service, "ann", "bob"), 503, "no_production_model")


def test_a_feature_store_that_is_down_makes_a_batch_one_problem(service):
    service.online.down()
    answer = batch(service, "ann", "bob")
    assert_problem(answer, 503, "feature_store_unavailable")
    assert answer.headers["retry-after"] == "5"


def test_more_than_can_be_answered_in_time_is_refused_with_a_time_to_come_again(service):
    going_on = threading.Event()
    reading = []
    read = service.online.read

    def wait(plan, entity_ids):
        reading.append(len(entity_ids))
        going_on.wait(20)
        return read(plan, entity_ids)

    service.online.read = wait
    with ThreadPoolExecutor(2) as pool:
        first = [pool.submit(batch, service, *["ann"] * MAX_BATCH) for _ in range(2)]
        try:
            eventually(lambda: len(reading) == 2)
            refused = [service.predict(), batch(service, "ann")]
        finally:
            going_on.set()
    for answer in refused:
        assert_problem(answer, 503, "overloaded")
        assert answer.headers["retry-after"] == "1"
    assert [len(one.result().json()["predictions"]) for one in first] == [MAX_BATCH] * 2
    assert service.predict().status_code == 200


def test_a_batch_is_counted_by_what_its_ids_were_answered():
    registry, online = many_visitors(4)
    with serving(registry, online) as service:
        batch(service, "u0", "u1", "u2", "u3", "u1", "x", "y")
        metrics = service.metrics()
    labels = 'method="POST",route="/predict/batch",status="200",version="1"'
    assert f"streamflow_requests_total{{{labels}}} 1.0" in metrics
    assert 'streamflow_predictions_total{label="0",version="1"} 2.0' in metrics
    assert 'streamflow_predictions_total{label="1",version="1"} 3.0' in metrics
    assert 'streamflow_problems_total{code="unknown_entity"} 2.0' in metrics


def test_a_batch_is_one_log_line_without_ids_or_values(service, log):
    batch(service, "ann", "nobody", "eve")
    (line,) = log.lines("request")
    assert (line["route"], line["status"], line["model_version"]) == ("/predict/batch", 200, 1)
    for secret in ("ann", "nobody", "platinum"):
        assert secret not in json.dumps(line)


# What follows is said of /predict and /predict/batch: a plain valid request is answered ahead of
# FastAPI, and it mustn't be possible to tell from an answer, the metrics or the log that it was.

ONE = b'{"user_id": "ann"}'
UNUSUAL_TEXTS = [
    "ann",
    "nobody",
    "\\u0061nn",
    "\\ud83d\\ude00",
    "\U0001f600",
    "x" * 64,
    "x" * 65,
    "\U0001f600" * 64,
    "\U0001f600" * 65,
    " ",
    "",
    "\\\\",
    "\\/",
    "\\n",
    "\n",
    "\t",
    "\\u0000",
    "\x00",
    "\x7f",
    "\\u202e",
    "\u202e",
    "\ufeffann",
    "\u3000",
    "\\ud800",
    "\\x",
]
ids = [f'"{text}"'.encode() for text in UNUSUAL_TEXTS]
ids += [b'"\xff"', b'"\xed\xa0\x80"', b"null", b"3", b"3.0", b"true", b"NaN", b"{}", b'["ann"]']
ids += [b"[" * 20_000, b"1" * 5_000, b"'ann'", b""]
bodies = [(path, start + one + end) for one in ids for path, start, end in (
    ("/predict", b'{"user_id": ', b"}"),
    ("/predict/batch", b'{"user_ids": ["ann", ', b"]}"),
)]  # fmt: skip
bodies += [
    (path, body)
    for path, good in (("/predict", ONE), ("/predict/batch", b'{"user_ids": ["ann", "bob"]}'))
    for body in (
        b"",
        b" ",
        b"{",
        b"{}",
        b"null",
        b"[]",
        b'"ann"',
        b"3",
        good,
        b" \n\t\r" + good + b"\n ",
        b"\x0b" + good,
        b"\xa0" + good,
        good + b"\0",
        good + b"x",
        good + good,
        b"[" + good + b"]",
        b"\xef\xbb\xbf" + good,
        good.decode().encode("utf-16"),
        good.decode().encode("utf-16-le"),
        good.decode().encode("utf-32"),
        good[:-1],
        good[:-1] + b",}",
        good[:-1] + b', "other": 1}',
        good[:-1] + b', "entity_id": "ann", "entity_ids": ["ann"]}',
        good[:-1] + b', "\\ud800": 1}',
        good[:-1] + b', "": NaN}',
        good.replace(b"user", b"\\u0075ser"),
        good.replace(b"user", b"USER"),
        good.replace(b"user_id", b"entity_id"),
        good[:-1] + b", " + good[1:-1].replace(b"ann", b"eve") + b"}",
        good[:-1] + b', "user_id": 3, "user_ids": 3}',
        b'{"user_id": 3, "user_ids": 3, ' + good[1:],
        good.replace(b'"', b"'"),
        good.replace(b":", b": /* a comment */"),
    )
]
bodies += [
    ("/predict/batch", b'{"user_ids": %s}' % value)
    for value in (
        *(b"[]", b"null", b'"ann"', b'{"0": "ann"}', b'[["ann"]]', b'["ann",]', b'["ann" "bob"]'),
        json.dumps(["ann"] * MAX_BATCH).encode(),
        json.dumps(["ann"] * (MAX_BATCH + 1)).encode(),
        json.dumps(["ann"] * 70 + [""]).encode(),
        json.dumps([""] * 20).encode(),
        b'["' + b"x" * limits.LARGEST_BATCH_BYTES + b'"]',
    )
]
bodies += [("/predict", b'{"user_id": "%s"}' % (b"x" * limits.LARGEST_BODY_BYTES))]
bodies += [("/predict/batch", ONE), ("/predict", b'{"user_ids": ["ann"]}')]


COUNTED = ["streamflow_requests", "streamflow_problems", "streamflow_predictions"]


def counted(service):
    recorder = service.client.app.app.recorder
    service.client.portal.call(recorder.flush)
    registry = recorder.registry
    return Counter(
        {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for metric in registry.restricted_registry(
                [f"{name}_total" for name in COUNTED]
            ).collect()
            for sample in metric.samples
        }
    )


def all_of(service, log, send):
    """The answer to a request, down to the order of its headers, and what operators see of it."""
    before = counted(service)
    log.clear()
    answer = send(service.client)
    lines = [{**line, "ms": None, "time": None} for line in log.lines("request")]
    grown = counted(service) - before
    assert grown, "the answer isn't counted"
    return answer.status_code, answer.headers.raw, answer.content, lines, grown


def assert_alike(services, log, send):
    told, told_by_fastapi = (all_of(service, log, send) for service in services)
    assert told == told_by_fastapi
    return told[0]


@pytest.mark.parametrize(
    ("path", "body"), bodies, ids=[f"{path}-{body[:60]!r}" for path, body in bodies]
)
def test_any_body_is_answered_as_fastapi_s_own_route_does(pair, log, path, body):
    def send(client):
        return client.post(path, content=body, headers={**JSON, "X-Request-ID": "one"})

    assert assert_alike(pair, log, send) in (200, 404, 413, 422)


def test_the_bodies_above_are_valid_and_invalid_ones(pair):
    _, plain_service = pair
    statuses = {
        (path, plain_service.client.post(path, content=body, headers=JSON).status_code)
        for path, body in bodies
    }
    wanted = {(path, status) for path in ("/predict", "/predict/batch") for status in (200, 422)}
    assert statuses >= wanted


content_types = [
    [],
    ["application/json"],
    ["application/json; charset=utf-8"],
    ["application/json;charset=latin-1"],
    ["application/json;"],
    ["Application/JSON"],
    ["application/json, text/plain"],
    ["application/problem+json"],
    ["application/jsonl"],
    ["application/x-www-form-urlencoded"],
    ["multipart/form-data; boundary=x"],
    ["text/plain"],
    [""],
    ["application/json", "text/plain"],
    ["text/plain", "application/json"],
    ["application/json", "application/json"],
]


@pytest.mark.parametrize("given", content_types, ids=map(" and ".join, content_types))
def test_any_content_type_is_answered_as_fastapi_s_own_route_does(pair, log, given):
    def send(client):
        headers = [("X-Request-ID", "one"), *(("Content-Type", one) for one in given)]
        return client.post("/predict", content=ONE, headers=headers)

    status = assert_alike(pair, log, send)
    assert status == (
        200 if given and given[0].lower().startswith("application/json") else 422
    ) or ("," in given[0] or "+" in given[0] or "jsonl" in given[0])


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "BIND"])
def test_any_other_method_is_answered_as_fastapi_s_own_route_does(pair, log, path, method):
    def send(client):
        headers = {**JSON, "X-Request-ID": "one"}
        return client.request(method, path, content=ONE, headers=headers)

    assert assert_alike(pair, log, send) == 405


@pytest.mark.parametrize(
    "path",
    [
        *("/predict?a=b", "/predict/", "//predict", "/predict/batch/", "/predict%2Fbatch"),
        *("/PREDICT", "/predict;x", "/%70redict", "/predict/other"),
    ],
)
def test_any_other_address_is_answered_as_fastapi_s_own_routes_do(pair, log, path):
    def send(client):
        return client.post(path, content=ONE, headers={**JSON, "X-Request-ID": "one"})

    assert assert_alike(pair, log, send) in (200, 404, 422)


@pytest.mark.parametrize(
    "named", [b"one", b"", b"two words", b"x" * 128, b"x" * 129, b"\xff", b"a\tb"]
)
def test_the_request_id_is_kept_or_replaced_as_on_fastapi_s_own_route(pair, named):
    def send(client):
        headers = [(b"X-Request-ID", named), (b"Content-Type", b"application/json")]
        answer = client.post("/predict", content=ONE, headers=headers)
        given = answer.headers["x-request-id"]
        assert answer.json()["request_id"] == given
        return given if given.encode("latin-1") == named else len(given)

    service, plain_service = pair
    assert send(service.client) == send(plain_service.client)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_what_goes_wrong_is_answered_as_on_fastapi_s_own_route(service, plain_service, log, path):
    def send(client):
        body = {"user_id": "ann"} if path == "/predict" else {"user_ids": ["ann"]}
        return client.post(path, json=body, headers={"X-Request-ID": "one"})

    both = service, plain_service
    for one in both:
        one.online.down()
    assert assert_alike(both, log, send) == 503
    for one in both:
        one.online.failure = None
        one.registry.archive()
        eventually(lambda one=one: one.predict().status_code == 503)
    assert assert_alike(both, log, send) == 503


@pytest.mark.parametrize("ahead_of_fastapi", [True, False])
@pytest.mark.parametrize(
    ("path", "body"), [("/predict", {"user_id": "ann"}), ("/predict/batch", {"user_ids": ["ann"]})]
)
def test_an_unforeseen_failure_tells_nothing_of_its_inside(
    service, plain_service, log, path, body, ahead_of_fastapi
):
    asked = service if ahead_of_fastapi else plain_service
    asked.online.read = lambda plan, entity_ids: {}["a secret"]
    log.clear()
    answer = asked.client.post(path, json=body)
    assert_problem(answer, 500, "internal_error")
    assert "secret" not in answer.text
    failed, request = log.lines()
    assert (failed["event"], failed["error"]) == ("request_failed", "KeyError")
    assert (request["status"], request["problem"]) == (500, "internal_error")
    assert request["route"] == path


def test_an_unforeseen_failure_at_another_address_tells_nothing_of_its_inside(service):
    service.online.read = lambda plan, entity_ids: {}["a secret"]
    answer = service.client.get("/features/ann")
    assert_problem(answer, 500, "internal_error")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "cuts", [(), (0,), (1,), (9,), (9, 9, 9), tuple(range(len(ONE))), (len(ONE),)]
)
def test_a_body_that_arrives_in_pieces_is_one_body(pair, log, cuts):
    ends = [*cuts, len(ONE)]
    pieces = [ONE[start:end] for start, end in zip([0, *cuts], ends, strict=True)]

    def send(client):
        return client.post("/predict", content=iter(pieces), headers={**JSON, "X-Request-ID": "1"})

    assert assert_alike(pair, log, send) == 200


def test_a_large_body_in_pieces_is_refused_as_on_fastapi_s_own_route(pair, log):
    def send(client):
        pieces = (b" " * 999 for _ in range(1100))
        headers = {**JSON, "X-Request-ID": "one"}
        return client.post("/predict/batch", content=pieces, headers=headers)

    assert assert_alike(pair, log, send) == 413


@pytest.mark.parametrize("body", [b"", ONE[:9], ONE])
def test_a_client_that_leaves_before_its_body_is_whole_is_not_predicted_for(pair, body):
    def leave(service):
        answered = []
        messages = iter(
            [
                {"type": "http.request", "body": body, "more_body": True},
                {"type": "http.disconnect"},
            ]
        )

        async def receive():
            return next(messages)

        async def send(message):
            answered.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/predict",
            "raw_path": b"/predict",
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "server": ("testserver", 80),
            "client": ("testclient", 50000),
            "headers": [
                (b"host", b"testserver"),
                (b"content-type", b"application/json"),
                (b"content-length", b"1000"),
                (b"x-request-id", b"one"),
            ],
        }
        before = counted(service)
        service.client.portal.call(service.client.app, scope, receive, send)
        return answered, counted(service) - before

    told, told_by_fastapi = (leave(service) for service in pair)
    assert told == told_by_fastapi
    assert not any("predictions" in name for name, *_ in told[1])


@pytest.mark.parametrize(
    "character", ["x", "é", "\U0001f600"], ids=["ascii", "two bytes", "four bytes"]
)
@pytest.mark.parametrize("escaped", [True, False])
def test_the_longest_ids_of_the_largest_batch_are_not_too_large(service, character, escaped):
    longest = {"user_ids": [character * 64] * MAX_BATCH}
    body = json.dumps(longest, ensure_ascii=escaped).encode()
    answer = service.client.post("/predict/batch", content=body, headers=JSON)
    rows = answer.json()["predictions"]
    assert {row["problem"]["code"] for row in rows} == {"unknown_entity"}
    assert len(rows) == MAX_BATCH


def test_a_fault_in_a_batch_names_the_place_of_the_id(service):
    body = assert_problem(batch(service, "ann", "", 3), 422, "invalid_request")
    assert [error["field"] for error in body["errors"]] == ["body.user_ids.1", "body.user_ids.2"]
    too_many = batch(service, *["ann"] * (MAX_BATCH + 1))
    (error,) = assert_problem(too_many, 422, "invalid_request")["errors"]
    assert error["field"] == "body.user_ids"
    assert "1000" in error["fault"]


def test_a_swap_is_followed_by_batches_too(service):
    service.registry.promote(2, model(0.9))
    eventually(lambda: service.version() == 2)
    body = batch(service, "ann", "ann").json()
    assert body["model"]["version"] == 2
    assert [row["probability"] for row in body["predictions"]] == [0.9, 0.9]


def test_features_of_a_batch_may_be_newer_than_those_of_the_last_look():
    online = stocked()
    online.newest_event_timestamps = lambda: {"activity_view": JANUARY, "billing_view": JANUARY}
    online.put("activity_view", "ann", FEBRUARY, visits=9)
    registry = FakeRegistry()
    registry.promote(1, model(0.1))
    with serving(registry, online) as service:
        (row,) = batch(service, "ann").json()["predictions"]
    assert row["feature_times"]["activity_view"] == FEBRUARY.isoformat()
