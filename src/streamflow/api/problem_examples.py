"""The problems in the OpenAPI document: a response per status, with an example of each problem."""

from __future__ import annotations

from datetime import date
from typing import Any

from streamflow.api.problems import MEDIA_TYPE, STATUSES, Problem, document
from streamflow.api.request_errors import (
    ContentTooLarge,
    HeadTooLarge,
    InternalError,
    InvalidRequest,
    MalformedRequest,
    RequestTimeout,
)
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
    UnseenNull,
    UnservableModel,
)
from streamflow.keys.api_keys import Scope
from streamflow.keys.errors import (
    HostUnknown,
    KeyExpired,
    KeyInQuery,
    KeyMissing,
    KeyRevoked,
    KeyUnknown,
    RateLimited,
    ScopeMissing,
)
from streamflow.scores.one_score import NotScored, UnknownScore
from streamflow.scores.scorings import no_scoring
from streamflow.serving.feature_status import Departed

# Problems of any request, whatever its route.
ANY_REQUEST = (MalformedRequest, RequestTimeout, HeadTooLarge, InternalError)


def responses(path: str, join_key: str, *kinds: type[StreamFlowError]) -> dict[int | str, Any]:
    """OpenAPI's `responses` of a route for its kinds of problems, with an example of each."""
    documented: dict[int | str, Any] = {}
    schema = Problem.model_json_schema()
    for error in (_example(kind, join_key) for kind in (*kinds, *ANY_REQUEST)):
        example = document(error, instance=path, request_id=EXAMPLE_REQUEST_ID)
        status, title = STATUSES[type(error)]
        entry = documented.setdefault(
            status,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": schema, "examples": {}}},
            },
        )
        entry["description"] = f"{entry['description']}; {title}".lstrip("; ")
        if status in (429, 503):
            seconds = {"description": "seconds to wait", "schema": {"type": "integer"}}
            entry["headers"] = {"Retry-After": seconds}
        elif status in (400, 401, 403):
            challenge = {"description": "as in RFC 6750", "schema": {"type": "string"}}
            entry["headers"] = {"WWW-Authenticate": challenge}
        entry["content"][MEDIA_TYPE]["examples"][error.code] = {
            "summary": title,
            "value": example,
        }
    return documented


EXAMPLE_REQUEST_ID = "0f8fad5bd9cb469fa16570867728950e"
EXAMPLE_ENTITY = "A-1001"


def _example(kind: type[StreamFlowError], join_key: str) -> StreamFlowError:
    day = 86400.0
    examples: list[StreamFlowError] = [
        UnknownEntity(join_key, EXAMPLE_ENTITY),
        MissingFeatures(["amount", "visits"]),
        Departed(join_key, EXAMPLE_ENTITY, date(2024, 1, 31), date(2024, 3, 31)),
        StaleFeatures({"activity_view": (65 * day, 40 * day)}),
        UnseenCategory("plan", "Platinum"),
        UnseenNull("discount"),
        no_scoring("example_model"),
        UnknownScore(join_key, EXAMPLE_ENTITY, date(2024, 3, 31)),
        NotScored(join_key, EXAMPLE_ENTITY, date(2024, 3, 31), "departed"),
        ContentTooLarge(),
        InvalidRequest([(f"body.{join_key}", "Input should be a valid string")]),
        HeadTooLarge(),
        MalformedRequest("Invalid header token"),
        RequestTimeout(),
        KeyInQuery(None),
        KeyMissing(Scope.PREDICT),
        KeyUnknown(),
        KeyRevoked(3),
        KeyExpired(3),
        ScopeMissing(3, Scope.PREDICT),
        HostUnknown("churn.example.com"),
        RateLimited(3, 0.25),
        InternalError(),
        NoProductionModel("example_model"),
        UnservableModel(
            "Version 3 of 'example_model' can't be served: the feature store has no 'amount'.",
            "Run `streamflow apply`.",
        ),
        FeatureStoreUnavailable(
            "The feature store doesn't answer.", "Run `streamflow status` to see what is down."
        ),
        MlflowUnavailable("MLflow doesn't answer.", "Run `streamflow status` to see what is down."),
        DatabaseUnavailable(
            "The database doesn't answer.", "Run `streamflow status` to see what is down."
        ),
        Overloaded(2000),
    ]
    return next(example for example in examples if type(example) is kind)
