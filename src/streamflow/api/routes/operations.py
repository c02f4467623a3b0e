"""The routes for operators: /health, /ready and /metrics.

Names and docstrings of routes are in the OpenAPI document. The routes are async, so that they
respond even when every thread predicts.
"""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from streamflow.api import key_problems, problem_examples, schemas
from streamflow.api.parts import ApiParts
from streamflow.api.security_scheme import requires
from streamflow.api.telemetry import recorder
from streamflow.keys.api_keys import Scope
from streamflow.serving import responses
from streamflow.serving.challenger.follower import report as staging_report


def router(parts: ApiParts) -> APIRouter:
    """The routes over these parts."""
    routes = APIRouter(tags=["operations"])
    is_ready, is_not_ready = schemas.ready_examples(parts.registered_model)

    @routes.get("/health", response_model=schemas.HealthAnswer)
    async def health() -> JSONResponse:
        """Whether the process lives; it says nothing of what it depends on."""
        return JSONResponse({"status": "alive"})

    @routes.get(
        "/ready",
        response_model=schemas.ReadyAnswer,
        responses={
            200: {"content": {"application/json": {"example": is_ready}}},
            503: {
                "model": schemas.ReadyAnswer,
                "description": "Not ready",
                "content": {"application/json": {"example": is_not_ready}},
            },
        },
    )
    async def ready() -> JSONResponse:
        """Whether a prediction can be given now, and if not, which part is missing."""
        report = responses.ready(parts.predictor, parts.watcher.state, parts.now())
        if parts.staging is not None and (told := staging_report(*parts.staging)) is not None:
            report["challenger"] = told
        return JSONResponse(report, status_code=200 if report["ready"] else 503)

    @routes.get(
        "/metrics",
        response_class=PlainTextResponse,
        dependencies=requires(Scope.READ),
        responses=problem_examples.responses("/metrics", parts.join_key, *key_problems.KINDS),
    )
    async def prometheus() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(parts.recorder.exposition(), media_type=recorder.CONTENT_TYPE)

    return routes
