"""The route to everyone's stored scores: /scores.

Names and docstrings of routes are in the OpenAPI document.
"""

# No `from __future__ import annotations`: FastAPI reads types that are made inside `router`.
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from streamflow.api import key_problems, problem_examples, schemas
from streamflow.api.request import record_of
from streamflow.api.request_errors import InvalidRequest
from streamflow.api.routes import score_answer
from streamflow.api.routes.score_handler import PATH, ScoreHandler
from streamflow.api.security_scheme import requires
from streamflow.errors import DatabaseUnavailable
from streamflow.keys.api_keys import Scope
from streamflow.scores.one_score import NotScored, UnknownScore
from streamflow.scores.scorings import NoScoring


def router(handler: ScoreHandler) -> APIRouter:
    """The route over this handler."""
    routes = APIRouter(tags=["predictions"])
    join_key, parameter = handler.join_key, handler.parameter
    example = problem_examples.EXAMPLE_ENTITY

    @routes.get(
        # With `:path`, so that an id may have a slash.
        f"{PATH}{{{parameter}:path}}",
        dependencies=requires(Scope.READ),
        response_model=score_answer.score_schema(
            join_key, example, problem_examples.EXAMPLE_REQUEST_ID
        ),
        responses=problem_examples.responses(
            f"{PATH}{example}",
            join_key,
            *(*key_problems.KINDS, InvalidRequest, DatabaseUnavailable),
            *(NoScoring, UnknownScore, NotScored),
        ),
    )
    async def score(
        entity_id: Annotated[
            str, Path(alias=parameter, description="the entity to look up", **schemas.id_rules())
        ],
        request: Request,
    ) -> Response:
        """An entity's score of the newest month that everyone was scored at, and its rank."""
        content = await handler.score(entity_id, record_of(request))
        return Response(content, media_type="application/json")

    return routes
