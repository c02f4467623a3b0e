from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.fakes import (
    FEBRUARY,
    FakeKeyStore,
    FakeRegistry,
    assert_problem,
    eventually,
    model,
    serving,
)

from streamflow.api import middleware
from streamflow.api.limits import BATCH_PATH, LARGEST_HEAD_BYTES
from streamflow.keys.api_keys import ApiKey, Scope, hash_key

SECRETS = [f"streamflow_{name:_<43}" for name in ("predicts", "reads", "revoked", "expired")]
PREDICTS, READS, REVOKED, EXPIRED = SECRETS


def key(key_id, secret, scope, **facts):
    scopes = frozenset({scope})
    return ApiKey(key_id, hash_key(secret.encode()), "", scopes, FEBRUARY, "ann", **facts)


KEYS = (
    key(1, PREDICTS, Scope.PREDICT),
    key(2, READS, Scope.READ),
    key(3, REVOKED, Scope.PREDICT, revoked_at=FEBRUARY),
    key(4, EXPIRED, Scope.PREDICT, expires_at=FEBRUARY - timedelta(days=1)),
)


@contextmanager
def guarded(keys=KEYS, **given):
    registry = FakeRegistry()
    registry.promote(1, model(0.1))
    store = FakeKeyStore(keys)
    with serving(registry, key_store=store, loopback=False, **given) as service:
        service.key_store = store
        yield service


@pytest.fixture
def service():
    with guarded() as service:
        yield service


def asked(service, secret, path="/predict", **options):
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    if path.startswith("/predict"):
        ids = {"user_id": "ann"} if path == "/predict" else {"user_ids": ["ann"]}
        return service.client.post(path, **{"json": ids, "headers": headers, **options})
    return service.client.get(path, headers=headers, **options)


@pytest.mark.parametrize(
    ("secret", "path"),
    [
        (PREDICTS, "/predict"),
        (PREDICTS, BATCH_PATH),
        (READS, "/features/ann"),
        (READS, "/metrics"),
        *((None, path) for path in ("/health", "/ready", "/docs", "/openapi.json")),
        (None, "/static-offline-docs/swagger-ui.css"),
    ],
)
def test_whoever_may_ask_is_answered(service, secret, path):
    assert asked(service, secret, path).status_code == 200


@pytest.mark.parametrize(
    ("secret", "path", "status", "code", "challenge"),
    [
        (None, "/predict", 401, "key_missing", None),
        (None, BATCH_PATH, 401, "key_missing", None),
        (None, "/features/ann", 401, "key_missing", None),
        (None, "/metrics", 401, "key_missing", None),
        (None, "/nothing", 401, "key_missing", None),
        ("streamflow_wrong", "/predict", 401, "key_unknown", "invalid_token"),
        ("streamflow_wrong", "/features/ann", 401, "key_unknown", "invalid_token"),
        (REVOKED, "/predict", 401, "key_revoked", "invalid_token"),
        (EXPIRED, "/predict", 401, "key_expired", "invalid_token"),
        (READS, "/predict", 403, "scope_missing", "insufficient_scope"),
        (PREDICTS, "/features/ann", 403, "scope_missing", "insufficient_scope"),
        (PREDICTS, f"/predict?token={PREDICTS}", 400, "key_in_query", "invalid_request"),
        (None, f"/health?x={PREDICTS}", 400, "key_in_query", "invalid_request"),
    ],
)
def test_whoever_may_not_is_told_why(service, secret, path, status, code, challenge):
    answer = asked(service, secret, path)
    assert_problem(answer, status, code)
    given = answer.headers["www-authenticate"]
    assert given.startswith('Bearer realm="streamflow"')
    assert (f'error="{challenge}"' in given) if challenge else ("error" not in given)
    for known in (*SECRETS, "streamflow_wrong"):
        assert known not in answer.text


def test_without_keys_a_host_that_isnt_this_machine_is_refused_and_a_probe_is_not():
    registry = FakeRegistry()
    registry.promote(1, model(0.1))
    with serving(registry, api_host_names="churn.example,other.example") as one:
        for path in ("/features/ann", "/metrics", "/nothing", "/predict", BATCH_PATH):
            for host, refused in (("rebound.example:8000", True), ("other.example:8000", False)):
                method = "POST" if path.startswith("/predict") else "GET"
                body = {"user_id": "ann"} if path == "/predict" else {"user_ids": ["ann"]}
                answer = one.client.request(method, path, json=body, headers={"host": host})
                assert (answer.status_code == 421) == refused
                if refused:
                    assert_problem(answer, 421, "host_unknown")
                    assert "www-authenticate" not in answer.headers
        for path in ("/health", "/ready", "/docs"):
            assert one.client.get(path, headers={"host": "10.1.2.3:8000"}).status_code == 200


def test_who_may_ask_comes_before_what_is_asked(service):
    large = asked(service, None, content=b"x" * 1_000_000, json=None)
    assert_problem(large, 401, "key_missing")
    wrong_method = service.client.get("/predict")
    assert_problem(wrong_method, 401, "key_missing")


def test_a_key_that_asks_too_often_waits_and_others_dont():
    with guarded(api_key_rate=3.0, keys=(*KEYS, key(5, "streamflow_other", Scope.PREDICT))) as one:
        statuses = [asked(one, PREDICTS).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = asked(one, PREDICTS)
        assert_problem(refused, 429, "rate_limited")
        assert refused.headers["retry-after"] == "1"
        assert asked(one, "streamflow_other").status_code == 200


def test_keys_are_followed_while_the_api_runs(service):
    new = key(9, "streamflow_new", Scope.PREDICT)
    assert_problem(asked(service, "streamflow_new"), 401, "key_unknown")
    service.key_store.keys.append(new)
    eventually(lambda: asked(service, "streamflow_new").status_code == 200)
    service.key_store.keys[-1] = replace(new, revoked_at=FEBRUARY)
    eventually(lambda: asked(service, "streamflow_new").status_code == 401)
    assert_problem(asked(service, "streamflow_new"), 401, "key_revoked")


def test_without_its_database_the_last_known_keys_go_on(service):
    service.key_store.failure = ConnectionError("away")
    assert asked(service, PREDICTS).status_code == 200
    assert_problem(asked(service, "streamflow_wrong"), 401, "key_unknown")
    assert service.key_store.entries == []
    service.key_store.failure = None
    eventually(lambda: service.key_store.entries)


def test_keys_that_were_never_read_let_nobody_in():
    store = FakeKeyStore(KEYS)
    store.failure = ConnectionError("away")
    registry = FakeRegistry()
    registry.promote(1, model(0.1))
    with serving(registry, key_store=store) as service:
        assert_problem(asked(service, PREDICTS), 503, "database_unavailable")
        assert service.client.get("/health").status_code == 200
        store.failure = None
        eventually(lambda: asked(service, PREDICTS).status_code == 200)


def test_each_refusal_leaves_a_line_without_the_key(service, log):
    asked(service, "streamflow_wrong")
    asked(service, READS)
    asked(service, None, f"/features/ann?key={PREDICTS}")
    asked(service, PREDICTS, content=b"x" * 100_000, json=None)
    asked(service, PREDICTS, json={"user_id": "'; DROP TABLE users; --"})
    asked(service, PREDICTS)
    eventually(lambda: len(service.key_store.entries) == 5)
    told = {
        (entry.request.code, entry.request.route, entry.request.method, entry.request.key_id)
        for entry in service.key_store.entries
    }
    assert told == {
        ("key_unknown", "/predict", "POST", None),
        ("scope_missing", "/predict", "POST", 2),
        ("key_in_query", "/features/{user_id}", "GET", 1),
        ("content_too_large", "/predict", "POST", 1),
        ("unknown_entity", "/predict", "POST", 1),
    }
    assert {entry.request.client for entry in service.key_store.entries} == {"testclient"}
    eventually(lambda: len(log.lines("refused")) == 5)
    everything = json.dumps(log.lines()) + repr(service.key_store.entries)
    for secret in (*SECRETS, "streamflow_wrong", "DROP TABLE"):
        assert secret not in everything


def test_a_thousand_wrong_keys_are_a_line_or_two_with_their_number():
    with guarded() as service:
        for number in range(1000):
            assert asked(service, f"streamflow_{number}").status_code == 401
        store = service.key_store
    assert store.closed
    assert len(store.entries) <= 2
    assert sum(entry.attempts for entry in store.entries) == 1000


def test_entities_that_lack_something_are_nobodys_attempt(service):
    asked(service, PREDICTS, json={"user_id": "bob"})
    asked(service, "streamflow_wrong")
    eventually(lambda: service.key_store.entries)
    assert [entry.request.code for entry in service.key_store.entries] == ["key_unknown"]


@pytest.mark.parametrize(
    "entity_id",
    [
        "../../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "'; DROP TABLE streamflow.predictions; --",
        '" OR 1=1 --',
        "{ann}",
        "$1",
        "ann' UNION SELECT key_hash",
    ],
)
def test_an_id_is_an_id_whatever_it_looks_like(service, entity_id):
    assert_problem(asked(service, PREDICTS, json={"user_id": entity_id}), 404, "unknown_entity")
    path = "/features/" + "".join(f"%{byte:02x}" for byte in entity_id.encode())
    assert_problem(asked(service, READS, path), 404, "unknown_entity")


def test_ten_thousand_ids_are_too_many(service):
    answer = asked(service, PREDICTS, BATCH_PATH, json={"user_ids": ["ann"] * 10_000})
    assert_problem(answer, 422, "invalid_request")
    assert asked(service, PREDICTS).status_code == 200


@pytest.mark.parametrize("name", ["X-Filler", "Authorization", "Cookie"])
def test_headers_too_large_are_refused(service, name):
    headers = {"Authorization": f"Bearer {PREDICTS}"}
    fits = {**headers, "X-Filler": "x" * (LARGEST_HEAD_BYTES // 2)}
    assert asked(service, None, headers=fits).status_code == 200
    answer = asked(service, None, headers={**headers, name: "x" * 1_000_000})
    assert_problem(answer, 431, "head_too_large")


def test_many_small_headers_and_a_long_address_are_too_large_as_well(service):
    headers = [("Authorization", f"Bearer {READS}"), *[("X-Filler", "x" * 99)] * 1000]
    many = service.client.get("/features/ann", headers=headers)
    assert_problem(many, 431, "head_too_large")
    headers = {"Authorization": f"Bearer {READS}", "X-Filler": "x" * (LARGEST_HEAD_BYTES // 2)}
    long = service.client.get("/features/" + "x" * (LARGEST_HEAD_BYTES // 2), headers=headers)
    assert_problem(long, 431, "head_too_large")


def test_the_documentation_says_which_scope_each_address_needs(service):
    document = service.client.get("/openapi.json").json()
    (name, scheme), *none = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"], none) == ("http", "bearer", [])
    for path, operations in document["paths"].items():
        scope = middleware.needed(path)
        for operation in operations.values():
            assert operation.get("security") == ([{name: [scope]}] if scope else None), path
            problems = {str(status) for status in (400, 401, 403, 429)}
            assert (problems <= operation["responses"].keys()) == (scope is not None), path
    assert middleware.needed("/whatever/comes") is not None
