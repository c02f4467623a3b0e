from __future__ import annotations

import sys
from types import ModuleType

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.fakes import FakeRegistry, eventually, model, serving

from streamflow.api.telemetry import tracing

EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exported():
    return InMemorySpanExporter()


@pytest.fixture
def service(exported):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    registry = FakeRegistry()
    registry.promote(3, model(0.1))
    trace = tracing.spans(provider.get_tracer("a test"))
    with serving(registry, trace=trace) as service:
        yield service


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch):
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)


def test_a_request_is_a_span_of_the_caller_s_trace_without_ids_or_values(service, exported):
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "asked"}
    service.client.get("/features/ann", headers=headers)
    service.predict(**headers)
    looked, predicted = exported.get_finished_spans()
    assert f"{predicted.context.trace_id:032x}" == TRACE
    assert f"{predicted.parent.span_id:016x}" == PARENT
    assert (predicted.name, predicted.kind) == ("POST /predict", SpanKind.SERVER)
    assert looked.name == "GET /features/{user_id}"
    assert 0 < predicted.end_time - predicted.start_time < 60e9
    assert predicted.status.status_code == StatusCode.UNSET
    assert dict(predicted.attributes) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "streamflow.request_id": "asked",
        "streamflow.model_version": 3,
    }
    assert "ann" not in looked.to_json()


def test_a_failure_is_one_and_a_question_that_cannot_be_answered_is_none(service, exported):
    service.predict("nobody")
    service.online.down()
    service.predict(**{"traceparent": "not a parent"})
    unknown, failed = exported.get_finished_spans()
    assert unknown.status.status_code == StatusCode.UNSET
    assert unknown.attributes["error.type"] == "unknown_entity"
    assert failed.status.status_code == StatusCode.ERROR
    assert failed.attributes["error.type"] == "feature_store_unavailable"
    assert failed.parent is None


def test_without_an_endpoint_nothing_is_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)  # to import it would raise
    assert tracing.tracing() is None


@pytest.mark.parametrize("name", tracing.ENDPOINTS)
def test_an_endpoint_without_the_packages_costs_the_traces_and_is_told(monkeypatch, log, name):
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, EXPORTER, None)
    assert tracing.tracing() is None
    (told,) = log.lines("tracing_unavailable")
    assert "pip install 'streamflow[tracing]'" in told["message"]


def test_with_an_endpoint_spans_are_exported_under_the_service_s_name(monkeypatch, exported):
    module = ModuleType(EXPORTER)
    module.OTLPSpanExporter = lambda: exported
    for number in range(len(EXPORTER.split(".")) - 3):
        above = EXPORTER.rsplit(".", number + 1)[0]
        monkeypatch.setitem(sys.modules, above, ModuleType(above))
    monkeypatch.setitem(sys.modules, EXPORTER, module)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "churn")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    registry = FakeRegistry()
    registry.promote(3, model(0.1))
    with serving(registry, trace=tracing.tracing()) as service:
        service.predict()
        eventually(exported.get_finished_spans)
    (span,) = exported.get_finished_spans()
    assert span.resource.attributes["service.name"] == "churn"
