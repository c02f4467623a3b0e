from __future__ import annotations

import json

from tests.fakes import FEBRUARY, JANUARY, FakeRegistry, eventually, model, serving, stocked

from streamflow.api import schemas


def test_liveness_depends_on_nothing():
    online = stocked()
    online.down()
    with serving(online=online) as service:
        answer = service.client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_readiness_names_the_model_that_answers(service):
    answer = service.client.get("/ready")
    body = answer.json()
    schemas.ReadyAnswer.model_validate(body)
    assert (answer.status_code, body["ready"], body["not_ready"]) == (200, True, [])
    assert (body["model"]["version"], body["model"]["run_id"]) == (1, "run-1")
    assert body["feature_store"]["materialized"]["activity_view"] == JANUARY.isoformat()
    assert body["looked_at"] == FEBRUARY.isoformat()


def test_readiness_names_what_is_not_ready():
    with serving() as service:
        answer = service.client.get("/ready")
        assert (answer.status_code, answer.json()["not_ready"]) == (503, ["model"])
        assert answer.json()["model"]["code"] == "no_production_model"
        service.online.down()
        both = ["model", "feature_store"]
        eventually(lambda: service.client.get("/ready").json()["not_ready"] == both)


def test_readiness_asks_for_materialized_features():
    registry, online = FakeRegistry(), stocked()
    registry.promote(1, model(0.1))
    del online.newest["billing_view"]
    with serving(registry, online) as service:
        body = service.client.get("/ready").json()
    assert body["not_ready"] == ["feature_store"]
    assert "billing_view" in body["feature_store"]["detail"]
    assert "streamflow materialize" in body["feature_store"]["next"]


def test_readiness_tells_that_mlflow_is_down_and_stays_ready(service):
    service.registry.down = True
    eventually(lambda: "registry" in service.client.get("/ready").json()["model"])
    answer = service.client.get("/ready")
    assert answer.status_code == 200
    assert answer.json()["model"]["registry"]["code"] == "mlflow_unavailable"


def test_a_valid_request_id_is_kept_and_any_other_replaced(service):
    kept = service.predict(**{"X-Request-ID": "trace-42"})
    assert kept.headers["x-request-id"] == kept.json()["request_id"] == "trace-42"
    for unfit in ("", "two words", "x" * 129):
        made = service.predict(**{"X-Request-ID": unfit}).headers["x-request-id"]
        assert len(made) == 32
    assert service.client.get("/nothing").headers["x-request-id"]


def test_metrics_are_told_whatever_feast_does_to_the_environment(service, monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))  # as `import feast.metrics` does
    assert "streamflow_production_version 1.0" in service.metrics()


def test_requests_are_counted_by_route_template(service):
    for entity_id in ("ann", "nobody"):
        service.client.get(f"/features/{entity_id}")
    service.client.get("/some/where")
    service.client.request("BIND", "/predict")
    service.predict()
    metrics = service.metrics()

    def requests(route, method, status, version=""):
        labels = f'method="{method}",route="{route}",status="{status}",version="{version}"'
        return f"streamflow_requests_total{{{labels}}} 1.0" in metrics

    assert requests("/features/{user_id}", "GET", 200, version="1")
    assert requests("/predict", "POST", 200, version="1")
    assert requests("/features/{user_id}", "GET", 404)
    assert requests("unmatched", "GET", 404)
    assert requests("/predict", "other", 405)
    assert 'streamflow_request_duration_seconds_bucket{le="0.00025",route="/predict"}' in metrics
    assert 'streamflow_predictions_total{label="0",version="1"} 1.0' in metrics
    assert 'streamflow_problems_total{code="unknown_entity"} 1.0' in metrics
    assert "streamflow_production_version 1.0" in metrics
    assert "ann" not in metrics
    assert "nobody" not in metrics


def test_each_request_is_one_log_line_without_ids_or_values(service, log):
    service.predict(**{"X-Request-ID": "trace-42"})
    service.predict("nobody")
    service.predict("eve")
    service.online.read = lambda plan, entity_ids: {}[entity_ids[0]]
    service.predict()
    lines = log.lines("request")
    assert [(line["status"], line["problem"], line["model_version"]) for line in lines] == [
        (200, None, 1),
        (404, "unknown_entity", 1),
        (422, "unseen_category", 1),
        (500, "internal_error", None),
    ]
    assert lines[0]["request_id"] == "trace-42"
    assert lines[0]["route"] == "/predict"
    assert lines[0]["ms"] >= 0
    everything = json.dumps(log.lines())
    for secret in ("ann", "nobody", "family", "platinum", "0.3"):
        assert f'"{secret}"' not in everything


def test_the_log_is_one_json_object_a_line(log):
    registry = FakeRegistry()
    registry.promote(1, model(0.1))
    with serving(registry) as service:
        service.predict()
    swapped, request = log.lines()
    assert (swapped["event"], swapped["model_version"]) == ("model_swapped", 1)
    assert (request["event"], request["route"], request["status"]) == ("request", "/predict", 200)
    assert request["time"] >= swapped["time"]
