"""Requests as spans of OpenTelemetry, if the environment names an endpoint for them.

The endpoint is in the standard variable OTEL_EXPORTER_OTLP_ENDPOINT. Without it nothing is
imported.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from streamflow import log

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_ATTRIBUTES = {
    "http.request.method": "method",
    "http.route": "route",
    "http.response.status_code": "status",
    "error.type": "problem",
    "streamflow.request_id": "request_id",
    "streamflow.model_version": "model_version",
}
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

# Records a request that has just ended: the facts of its line in the log, its seconds, and its
# header `traceparent`.
Trace = Callable[[Mapping[str, Any], float, bytes | None], None]


def tracing() -> Trace | None:
    """What exports spans; None without an endpoint, or without the packages that it takes."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        # Predictions are worth more than traces of them.
        message = (
            f"There will be no traces: {error}. Install them: pip install 'streamflow[tracing]'."
        )
        log.warning("tracing_unavailable", message=message)
        return None
    name = os.environ.get("OTEL_SERVICE_NAME", "streamflow-api")
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return spans(provider.get_tracer("streamflow"))


def spans(tracer: Tracer) -> Trace:
    """What makes a span of `tracer` from each request."""
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parents = TraceContextTextMapPropagator()

    def trace(facts: Mapping[str, Any], seconds: float, traceparent: bytes | None) -> None:
        ended = time.time_ns()
        carrier = {"traceparent": traceparent.decode("latin-1")} if traceparent else {}
        known = {name: facts[fact] for name, fact in _ATTRIBUTES.items() if facts[fact] is not None}
        span = tracer.start_span(
            f"{facts['method']} {facts['route']}",
            context=parents.extract(carrier),
            kind=SpanKind.SERVER,
            attributes=known,
            start_time=ended - round(seconds * 1e9),
        )
        if facts["status"] >= 500:
            span.set_status(StatusCode.ERROR)
        span.end(ended)

    return trace
