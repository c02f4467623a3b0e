"""The routes for clients: /features, /predict and /predict/batch.

Names and docstrings of routes are in the OpenAPI document.
"""

# No `from __future__ import annotations`: FastAPI reads types that are made inside `router`.
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from streamflow.api import key_problems, problem_examples, schemas
from streamflow.api.handlers import PredictionHandlers
from streamflow.api.limits import BATCH_PATH
from streamflow.api.parts import ApiParts
from streamflow.api.request import record_of
from streamflow.api.request_errors import ContentTooLarge, InvalidRequest
from streamflow.api.security_scheme import requires
from streamflow.errors import (
    DatabaseUnavailable,
    FeatureStoreUnavailable,
    MissingFeatures,
    MlflowUnavailable,
    NoProductionModel,
    Overloaded,
    StaleFeatures,
    UnknownEntity,
    UnseenCategory,
    UnseenNull,
    UnservableModel,
)
from streamflow.keys.api_keys import Scope
from streamflow.serving import responses
from streamflow.serving.feature_status import Departed

NOT_AVAILABLE = (
    *(NoProductionModel, UnservableModel, MlflowUnavailable),
    *(FeatureStoreUnavailable, DatabaseUnavailable),
)


def router(
    parts: ApiParts,
    handlers: PredictionHandlers,
    request_model: type[BaseModel],
    batch_model: type[BaseModel],
) -> APIRouter:
    """The routes over these parts; the models are those of the bodies."""
    routes = APIRouter(tags=["predictions"])
    join_key = parts.join_key
    example = problem_examples.EXAMPLE_ENTITY
    names = (join_key, example, problem_examples.EXAMPLE_REQUEST_ID)
    parameter = schemas.path_parameter(join_key)

    @routes.get(
        # With `:path`, so that an id may have a slash.
        f"/features/{{{parameter}:path}}",
        dependencies=requires(Scope.READ),
        response_model=schemas.features_schema(*names),
        responses=problem_examples.responses(
            f"/features/{example}",
            join_key,
            *(*key_problems.KINDS, UnknownEntity, Departed, InvalidRequest),
            *NOT_AVAILABLE,
        ),
    )
    def features(
        entity_id: Annotated[
            str, Path(alias=parameter, description="the entity to look at", **schemas.id_rules())
        ],
        request: Request,
    ) -> JSONResponse:
        """Each feature of an entity as the Production model would be given it now."""
        record = record_of(request)
        if (error := parts.watcher.state.feature_store_error) is not None:
            raise error  # no thread waits for a store that didn't respond to the last poll
        served, readings = parts.predictor.features(entity_id, parts.now())
        record.model_version = served.version.version
        return JSONResponse(
            responses.features(join_key, entity_id, served, readings, record.request_id)
        )

    @routes.post(
        "/predict",
        dependencies=requires(Scope.PREDICT),
        response_model=schemas.prediction_schema(*names),
        responses=problem_examples.responses(
            "/predict",
            join_key,
            *(*key_problems.KINDS, UnknownEntity, Departed, StaleFeatures),
            *(ContentTooLarge, InvalidRequest, MissingFeatures, UnseenCategory, UnseenNull),
            *NOT_AVAILABLE,
            Overloaded,
        ),
    )
    async def predict(body: request_model, request: Request) -> Response:  # type: ignore[valid-type]
        """Score one entity with the model in Production: an answer with its receipt, or none."""
        content = await handlers.predict(body.entity_id, record_of(request))  # type: ignore[attr-defined]
        return Response(content, media_type="application/json")

    @routes.post(
        BATCH_PATH,
        dependencies=requires(Scope.PREDICT),
        response_model=schemas.batch_schema(*names),
        responses=problem_examples.responses(
            BATCH_PATH,
            join_key,
            *(*key_problems.KINDS, ContentTooLarge, InvalidRequest),
            *NOT_AVAILABLE,
            Overloaded,
        ),
    )
    async def predict_batch(body: batch_model, request: Request) -> Response:  # type: ignore[valid-type]
        """Score up to 1,000 entities at once: each has its answer, or the problem in its place."""
        content = await handlers.predict_batch(body.entity_ids, record_of(request))  # type: ignore[attr-defined]
        return Response(content, media_type="application/json")

    return routes
