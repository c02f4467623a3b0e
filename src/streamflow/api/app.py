"""The HTTP face: schemas, routes, and which error is which answer.

HTTP status codes are decided here and in `streamflow.api.problems`, nowhere else.
"""

# No `from __future__ import annotations`: FastAPI reads types that are made inside `create_app`.
import asyncio
import gc
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path as Folder
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from streamflow import __doc__ as DESCRIPTION
from streamflow.api import key_problems, problem_examples, problems, schemas
from streamflow.api.handlers import Asking
from streamflow.api.middleware import RequestBoundary, Unforeseen
from streamflow.api.problems import ContentTooLarge, InvalidRequest
from streamflow.api.telemetry import telemetry
from streamflow.api.telemetry.telemetry import Telemetry
from streamflow.errors import (
    DatabaseUnavailable,
    FeatureStoreUnavailable,
    MissingFeatures,
    MlflowUnavailable,
    NoProductionModel,
    Overloaded,
    StaleFeatures,
    StreamFlowError,
    UnknownEntity,
    UnseenCategory,
    UnservableModel,
)
from streamflow.keys.api_keys import Scope
from streamflow.keys.key_sync import Gatekeeper
from streamflow.registry.model_cache import LastGood
from streamflow.serving import responses
from streamflow.serving.batching import MOST_TOGETHER, Batches, keep_nothing
from streamflow.serving.prediction_log import PredictionLog, Writer
from streamflow.serving.predictor import Predictor
from streamflow.serving.watcher import Watcher
from streamflow.settings import Settings
from streamflow.training import served_model

if TYPE_CHECKING:
    from streamflow.api.telemetry.tracing import Trace
    from streamflow.registry.production import Production
    from streamflow.serving.online_store import OnlineStore

# How long a start waits for the first model. One that takes longer is picked up when it's there.
FIRST_LOOK_SECONDS = 15.0
NOT_AVAILABLE = (
    *(NoProductionModel, UnservableModel, MlflowUnavailable),
    *(FeatureStoreUnavailable, DatabaseUnavailable),
)


def create_app(
    settings: Settings,
    registry: "Production",
    online: "OnlineStore",
    *,
    registered_model: str,
    join_key: str,
    gatekeeper: Gatekeeper,
    log_writer: Writer | None = None,
    last_good: LastGood | None = None,
    trace: "Trace | None" = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    load: Callable[[Folder], served_model.ServedModel] = served_model.load,
) -> RequestBoundary:
    """The API of one registered model whose entities are asked for by `join_key`.

    Its start looks once for the version in Production, and goes on following it until its end.
    The gatekeeper, which starts and ends with it, says who may ask.
    What it answers is kept by `log_writer`, and which version answers by `last_good`, if they are
    given.
    """
    metrics = Telemetry(trace)
    predictor = Predictor(
        online,
        registered_model=registered_model,
        join_key=join_key,
        stale_features=settings.stale_features,
        freshness_clock=settings.freshness_clock,
    )
    log = PredictionLog(log_writer, metrics) if log_writer is not None else None
    batches = Batches(
        predictor,
        online,
        now=now,
        latency_budget_seconds=settings.latency_budget_ms / 1000,
        keep=log.put if log is not None else keep_nothing,
        took=metrics.took,
    )
    metrics.follow(batches.load)
    asking = Asking(batches, metrics, join_key)
    watcher = Watcher(
        predictor,
        registry,
        online,
        metrics,
        poll_seconds=settings.registry_poll_seconds,
        now=now,
        last_good=last_good,
        load=load,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.gather(
            run_in_threadpool(watcher.start, FIRST_LOOK_SECONDS),
            run_in_threadpool(gatekeeper.start, FIRST_LOOK_SECONDS),
        )
        # A store that is away will be found when it's back.
        away = watcher.sight.feature_store_error is not None
        await batches.open(0.0 if away else FIRST_LOOK_SECONDS)
        if log is not None:
            log.start()
        telling = asyncio.create_task(metrics.keep_handing_on())
        # What is there now stays: looking through it again and again is what slow answers are of.
        gc.freeze()
        yield
        await run_in_threadpool(watcher.stop)
        await batches.close()
        if log is not None:
            await run_in_threadpool(log.close)
        await run_in_threadpool(gatekeeper.stop)
        telling.cancel()
        metrics.hand_on()

    # Its docs page brings its own scripts and styles, so that it's there without the internet.
    app = FastAPIOffline(
        title=f"StreamFlow: {registered_model}",
        summary=DESCRIPTION,
        version="1",
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(StreamFlowError, problems.on_streamflow_error)
    app.add_exception_handler(RequestValidationError, problems.on_validation_error)
    app.add_exception_handler(HTTPException, problems.on_http_exception)

    example = problem_examples.EXAMPLE_ENTITY
    told = (join_key, example, problem_examples.EXAMPLE_REQUEST_ID)
    rules = schemas.id_rules()
    question, questions = schemas.questions(join_key, example, MOST_TOGETHER)
    # The name of a path parameter is an identifier, whatever the join key is.
    parameter = re.sub(r"\W|^(?=\d)", "_", join_key, flags=re.ASCII)
    is_ready, is_not_ready = schemas.ready_examples(registered_model)

    # The operators' routes are async, so that they answer even when every thread is predicting.
    @app.get("/health", tags=["operations"], response_model=schemas.HealthAnswer)
    async def health() -> JSONResponse:
        """Whether the process lives; it says nothing of what it depends on."""
        return JSONResponse({"status": "alive"})

    @app.get(
        "/ready",
        tags=["operations"],
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
        report = responses.ready(predictor, watcher.sight)
        return JSONResponse(report, status_code=200 if report["ready"] else 503)

    @app.get(
        "/metrics",
        tags=["operations"],
        response_class=PlainTextResponse,
        dependencies=key_problems.asking_for(Scope.READ),
        responses=problem_examples.responses("/metrics", join_key, *key_problems.KINDS),
    )
    async def prometheus() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(metrics.exposition(), media_type=telemetry.CONTENT_TYPE)

    @app.get(
        # With `:path`, so that an id may have a slash.
        f"/features/{{{parameter}:path}}",
        tags=["predictions"],
        dependencies=key_problems.asking_for(Scope.READ),
        response_model=schemas.features_schema(
            join_key, example, problem_examples.EXAMPLE_REQUEST_ID
        ),
        responses=problem_examples.responses(
            f"/features/{example}",
            join_key,
            *(*key_problems.KINDS, UnknownEntity, InvalidRequest),
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
        if (away := watcher.sight.feature_store_error) is not None:
            raise away  # no thread waits for what was seen to be away
        served, readings = predictor.features(entity_id, now())
        exchange.model_version = served.version.version
        return JSONResponse(
            responses.features(join_key, entity_id, served, readings, exchange.request_id)
        )

    @app.post(
        "/predict",
        tags=["predictions"],
        dependencies=key_problems.asking_for(Scope.PREDICT),
        response_model=schemas.prediction_schema(
            join_key, example, problem_examples.EXAMPLE_REQUEST_ID
        ),
        responses=problem_examples.responses(
            "/predict",
            join_key,
            *(*key_problems.KINDS, UnknownEntity, StaleFeatures, ContentTooLarge),
            *(InvalidRequest, MissingFeatures, UnseenCategory),
            *NOT_AVAILABLE,
            Overloaded,
        ),
    )
    async def predict(body: question, request: Request) -> Response:  # type: ignore[valid-type]
        """Score one entity with the model in Production: an answer with its receipt, or none."""
        exchange = problems.exchange_of(request)
        content = await asking.one(body.entity_id, exchange)  # type: ignore[attr-defined]
        return Response(content, media_type="application/json")

    @app.post(
        problems.BATCH_PATH,
        tags=["predictions"],
        dependencies=key_problems.asking_for(Scope.PREDICT),
        response_model=schemas.batch_schema(*told),
        responses=problem_examples.responses(
            problems.BATCH_PATH,
            join_key,
            *(*key_problems.KINDS, ContentTooLarge, InvalidRequest),
            *NOT_AVAILABLE,
            Overloaded,
        ),
    )
    async def predict_batch(body: questions, request: Request) -> Response:  # type: ignore[valid-type]
        """Score up to 1,000 entities at once: each has its answer, or the problem in its place."""
        exchange = problems.exchange_of(request)
        content = await asking.many(body.entity_ids, exchange)  # type: ignore[attr-defined]
        return Response(content, media_type="application/json")

    app.add_middleware(Unforeseen)
    # Around all of FastAPI, whose own middleware takes longer than a prediction.
    direct = asking.direct(question, questions)
    return RequestBoundary(app, metrics, direct, gatekeeper.access, gatekeeper.audit, now)
