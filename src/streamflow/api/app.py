"""The HTTP application: routes, exception handlers and middleware over finished parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from streamflow import __doc__ as DESCRIPTION
from streamflow.api import problem_examples, problems, schemas
from streamflow.api.handlers import PredictionHandlers
from streamflow.api.middleware import RequestBoundary, UnexpectedErrors
from streamflow.api.parts import ApiParts
from streamflow.api.routes import operations, predictions, scores
from streamflow.api.routes.score_handler import ScoreHandler
from streamflow.errors import StreamFlowError
from streamflow.serving.batching import MAX_BATCH


def create_app(parts: ApiParts) -> RequestBoundary:
    """The application; its lifespan starts and stops the parts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with parts.running():
            yield

    # Its page /docs comes with its own scripts and styles, and so works without the internet.
    app = FastAPIOffline(
        title=f"StreamFlow: {parts.registered_model}",
        summary=DESCRIPTION,
        version="1",
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(StreamFlowError, problems.handle_streamflow_error)
    app.add_exception_handler(RequestValidationError, problems.handle_validation_error)
    app.add_exception_handler(HTTPException, problems.handle_http_exception)
    app.add_middleware(UnexpectedErrors)

    handlers = PredictionHandlers(parts.batches, parts.recorder, parts.join_key)
    request_model, batch_model = schemas.request_models(
        parts.join_key, problem_examples.EXAMPLE_ENTITY, MAX_BATCH
    )
    parameter = schemas.path_parameter(parts.join_key)
    score = ScoreHandler(parts.scores, parts.registered_model, parts.join_key, parameter)
    # `include_router` would nest the routes: the middleware couldn't see their templates.
    app.router.routes += operations.router(parts).routes
    app.router.routes += predictions.router(parts, handlers, request_model, batch_model).routes
    app.router.routes += scores.router(score).routes

    # Around all of FastAPI, whose own middleware takes longer than a prediction.
    return RequestBoundary(
        app,
        parts.recorder,
        handlers.direct_handlers(request_model, batch_model),
        score,
        parts.key_sync.access,
        parts.key_sync.audit,
        parts.now,
    )
