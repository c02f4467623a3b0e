"""The route to everyone's stored scores: /scores.

Names and docstrings of routes are in the OpenAPI document.
"""

# No `from __future__ import annotations`: FastAPI reads types that are made inside `router`.
import re
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse

from streamflow.api import key_problems, problem_examples, schemas
from streamflow.api.parts import ApiParts
from streamflow.api.request import record_of
from streamflow.api.request_errors import InvalidRequest
from streamflow.api.routes import score_answer
from streamflow.api.security_scheme import requires
from streamflow.errors import DatabaseUnavailable
from streamflow.keys.api_keys import Scope
from streamflow.scores.one_score import NotScored, UnknownScore
from streamflow.scores.scorings import NoScoring, no_scoring


def router(parts: ApiParts) -> APIRouter:
    """The route over these parts."""
    routes = APIRouter(tags=["predictions"])
    join_key = parts.join_key
    example = problem_examples.EXAMPLE_ENTITY
    # The name of a path parameter is an identifier, whatever the join key is.
    parameter = re.sub(r"\W|^(?=\d)", "_", join_key, flags=re.ASCII)

    @routes.get(
        # With `:path`, so that an id may have a slash.
        f"/scores/{{{parameter}:path}}",
        dependencies=requires(Scope.READ),
        response_model=score_answer.score_schema(
            join_key, example, problem_examples.EXAMPLE_REQUEST_ID
        ),
        responses=problem_examples.responses(
            f"/scores/{example}",
            join_key,
            *(*key_problems.KINDS, InvalidRequest, DatabaseUnavailable),
            *(NoScoring, UnknownScore, NotScored),
        ),
    )
    def score(
        entity_id: Annotated[
            str, Path(alias=parameter, description="the entity to look up", **schemas.id_rules())
        ],
        request: Request,
    ) -> JSONResponse:
        """An entity's score of the newest month that everyone was scored at, and its rank."""
        record = record_of(request)
        if parts.scores is None:
            raise no_scoring(parts.registered_model)
        found = parts.scores.score(entity_id)
        record.model_version = found.scoring.version
        return JSONResponse(score_answer.document(join_key, found, record.request_id))

    return routes
