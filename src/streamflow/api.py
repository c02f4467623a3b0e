"""The HTTP face: schemas, routes, and which error is which answer.

HTTP status codes are decided here and in `streamflow.problems`, nowhere else.
"""

# No `from __future__ import annotations`: FastAPI reads types that are made inside `create_app`.
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path as Folder
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

from fastapi import FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi_offline import FastAPIOffline
from pydantic import ConfigDict, Field, create_model
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamflow import __doc__ as DESCRIPTION
from streamflow import answers, problems, served_model, telemetry
from streamflow.errors import (
    DatabaseUnavailable,
    FeatureStoreUnavailable,
    MissingFeatures,
    MlflowUnavailable,
    NoProductionModel,
    StaleFeatures,
    StreamFlowError,
    UnknownEntity,
    UnseenCategory,
    UnservableModel,
)
from streamflow.problems import (
    LARGEST_BODY_BYTES,
    ContentTooLarge,
    InternalError,
    InvalidRequest,
)
from streamflow.serving.predictor import Predictor
from streamflow.serving.watcher import Watcher
from streamflow.settings import Settings
from streamflow.telemetry import Telemetry

if TYPE_CHECKING:
    from streamflow.online import OnlineFeatures
    from streamflow.registry import Registry

# How long a start waits for the first model. One that takes longer is picked up when it's there.
FIRST_LOOK_SECONDS = 15.0
# An id is 1 to 64 characters that can be seen: no control, format or bidirectional ones.
ID_PATTERN = (
    r"^[^\x00-\x1f\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb]+$"
)
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
NOT_AVAILABLE = (
    *(NoProductionModel, UnservableModel, MlflowUnavailable),
    *(FeatureStoreUnavailable, DatabaseUnavailable),
)


def create_app(
    settings: Settings,
    registry: "Registry",
    online: "OnlineFeatures",
    *,
    registered_model: str,
    join_key: str,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    load: Callable[[Folder], served_model.ServedModel] = served_model.load,
) -> FastAPI:
    """The API of one registered model whose entities are asked for by `join_key`.

    Its start looks once for the version in Production, and goes on following it until its end.
    """
    metrics = Telemetry()
    predictor = Predictor(
        online,
        registered_model=registered_model,
        join_key=join_key,
        stale_features=settings.stale_features,
        freshness_clock=settings.freshness_clock,
    )
    watcher = Watcher(
        predictor,
        registry,
        online,
        metrics,
        poll_seconds=settings.registry_poll_seconds,
        now=now,
        load=load,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(watcher.start, FIRST_LOOK_SECONDS)
        yield
        await run_in_threadpool(watcher.stop)

    # Its docs page brings its own scripts and styles, so that it's there without the internet.
    app = FastAPIOffline(
        title=f"StreamFlow: {registered_model}",
        summary=DESCRIPTION,
        version="1",
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(RequestBoundary, metrics=metrics)
    app.add_exception_handler(StreamFlowError, problems.on_streamflow_error)
    app.add_exception_handler(RequestValidationError, problems.on_validation_error)
    app.add_exception_handler(HTTPException, problems.on_http_exception)

    example = problems.EXAMPLE_ENTITY
    rules: dict[str, Any] = {"min_length": 1, "max_length": 64, "pattern": ID_PATTERN}
    question = create_model(
        "PredictRequest",
        __config__=ConfigDict(
            extra="forbid", strict=True, json_schema_extra={"examples": [{join_key: example}]}
        ),
        # The field's own name is fixed, so that a join key like `schema` is as good as any.
        entity_id=(str, Field(alias=join_key, description="the entity to score", **rules)),
    )
    # The name of a path parameter is an identifier, whatever the join key is.
    parameter = re.sub(r"\W|^(?=\d)", "_", join_key, flags=re.ASCII)
    is_ready, is_not_ready = answers.ready_examples(registered_model)

    # The operators' routes are async, so that they answer even when every thread is predicting.
    @app.get("/health", tags=["operations"], response_model=answers.HealthAnswer)
    async def health() -> JSONResponse:
        """Whether the process lives; it says nothing of what it depends on."""
        return JSONResponse({"status": "alive"})

    @app.get(
        "/ready",
        tags=["operations"],
        response_model=answers.ReadyAnswer,
        responses={
            200: {"content": {"application/json": {"example": is_ready}}},
            503: {
                "model": answers.ReadyAnswer,
                "description": "Not ready",
                "content": {"application/json": {"example": is_not_ready}},
            },
        },
    )
    async def ready() -> JSONResponse:
        """Whether a prediction can be given now, and if not, which part is missing."""
        report = answers.ready(predictor, watcher.sight)
        return JSONResponse(report, status_code=200 if report["ready"] else 503)

    @app.get("/metrics", tags=["operations"], response_class=PlainTextResponse)
    async def prometheus() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(metrics.exposition(), media_type=telemetry.CONTENT_TYPE)

    @app.get(
        # With `:path`, so that an id may have a slash.
        f"/features/{{{parameter}:path}}",
        tags=["predictions"],
        response_model=answers.features_schema(join_key, example, problems.EXAMPLE_REQUEST_ID),
        responses=problems.responses(
            f"/features/{example}",
            join_key,
            *(UnknownEntity, InvalidRequest),
            *NOT_AVAILABLE,
        ),
    )
    def features(
        entity_id: Annotated[
            str, Path(alias=parameter, description="the entity to look at", **rules)
        ],
        request: Request,
    ) -> JSONResponse:
        """Each feature of an entity as the Production model would be given it now."""
        exchange = problems.exchange_of(request)
        served, readings = predictor.features(entity_id, now())
        exchange.model_version = served.version.version
        return JSONResponse(
            answers.features(join_key, entity_id, served, readings, exchange.request_id)
        )

    @app.post(
        "/predict",
        tags=["predictions"],
        response_model=answers.prediction_schema(join_key, example, problems.EXAMPLE_REQUEST_ID),
        responses=problems.responses(
            "/predict",
            join_key,
            *(UnknownEntity, StaleFeatures, ContentTooLarge),
            *(InvalidRequest, MissingFeatures, UnseenCategory),
            *NOT_AVAILABLE,
        ),
    )
    def predict(body: question, request: Request) -> JSONResponse:  # type: ignore[valid-type]
        """Score one entity with the model in Production: an answer with its receipt, or none."""
        exchange = problems.exchange_of(request)
        given = predictor.predict(body.entity_id, now(), exchange.request_id)  # type: ignore[attr-defined]
        exchange.model_version = given.model.version
        metrics.predicted(given.model.version, given.prediction)
        return JSONResponse(answers.prediction(join_key, given))

    return app


class RequestBoundary:
    """What holds for every request: an id, a largest body, always an answer, a line in the log."""

    def __init__(self, app: ASGIApp, metrics: Telemetry) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        arrived = time.perf_counter()
        given_id = Headers(scope=scope).get("x-request-id", "")
        exchange = problems.Exchange(given_id if REQUEST_ID.fullmatch(given_id) else uuid4().hex)
        scope["exchange"] = exchange
        status = 0  # until an answer was started
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_BODY_BYTES:
                raise HTTPException(413)
            return message

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = exchange.request_id
            await send(message)

        try:
            await self.app(scope, receive_limited, send_marked)
        except Exception as error:
            telemetry.log_failure("request_failed", error, request_id=exchange.request_id)
            if status:
                raise  # half an answer is out: only the connection's end can tell
            await problems.respond(Request(scope), InternalError())(scope, receive, send_marked)
        finally:
            # Raw paths hold ids, and have no end: only a route's template may be a label.
            unnamed = "unmatched" if status == 404 else "other"
            self.metrics.request_answered(
                request_id=exchange.request_id,
                route=getattr(scope.get("route"), "path_format", unnamed),
                method=scope["method"],
                status=status,
                seconds=time.perf_counter() - arrived,
                model_version=exchange.model_version,
                problem=exchange.problem,
            )
