"""Errors as responses: RFC 9457 problem details, and FastAPI's handlers of exceptions.

HTTP statuses are decided here, in `key_problems` and in `routes`, nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from streamflow import log
from streamflow.api import key_problems
from streamflow.api.request import RequestRecord, record_of
from streamflow.api.request_errors import (
    ContentTooLarge,
    HeadTooLarge,
    InternalError,
    InvalidRequest,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
)
from streamflow.errors import (
    DatabaseUnavailable,
    FeatureStoreUnavailable,
    MissingFeatures,
    MlflowUnavailable,
    NoProductionModel,
    Overloaded,
    ServiceUnavailable,
    StaleFeatures,
    StreamFlowError,
    UnknownEntity,
    UnseenCategory,
    UnseenNull,
    UnservableModel,
)
from streamflow.scores.one_score import NotScored, UnknownScore
from streamflow.scores.scorings import NoScoring
from streamflow.serving.feature_status import Departed

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5

# Per kind of error the HTTP status and the title of its problem.
STATUSES: Mapping[type[StreamFlowError], tuple[int, str]] = {
    **key_problems.STATUSES,
    MalformedRequest: (400, "Malformed request"),
    UnknownEntity: (404, "Unknown entity"),
    UnknownScore: (404, "Unknown entity"),
    NoScoring: (404, "No scores yet"),
    NotFound: (404, "Not found"),
    MethodNotAllowed: (405, "Method not allowed"),
    RequestTimeout: (408, "Request timeout"),
    StaleFeatures: (409, "Features too old"),
    Departed: (409, "Departed entity"),
    NotScored: (409, "Entity without a score"),
    ContentTooLarge: (413, "Content too large"),
    InvalidRequest: (422, "Invalid request"),
    MissingFeatures: (422, "Missing features"),
    UnseenCategory: (422, "Value unknown to the model"),
    UnseenNull: (422, "Null unknown to the model"),
    HeadTooLarge: (431, "Headers too large"),
    InternalError: (500, "Internal error"),
    NoProductionModel: (503, "No model in Production"),
    UnservableModel: (503, "The model in Production can't be served"),
    FeatureStoreUnavailable: (503, "Feature store unavailable"),
    MlflowUnavailable: (503, "MLflow unavailable"),
    DatabaseUnavailable: (503, "Database unavailable"),
    Overloaded: (503, "Overloaded"),
}


class Problem(BaseModel):
    """Problem details as in RFC 9457; a program tells problems apart by `code`."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="a URI that names the kind of problem")
    title: str = Field(description="the kind of problem, the same each time")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what happened this time")
    instance: str = Field(description="the address that was asked")
    code: str = Field(description="the kind of problem, for programs")
    next: str = Field(description="what to do about it")
    request_id: str = Field(description="the same as in the header X-Request-ID and in the log")


def document(error: StreamFlowError, *, instance: str, request_id: str) -> dict[str, object]:
    """The problem details of `error`; those of an InternalError if it has no status of its own."""
    status, title = _status(error)
    if (status, title) == STATUSES[InternalError]:
        error = InternalError()
    return {
        "type": f"urn:streamflow:problem:{error.code}",
        "title": title,
        "status": status,
        "detail": error.message,
        "instance": quote(instance, errors="replace"),
        "code": error.code,
        "next": error.next,
        "request_id": request_id,
        **_extensions(error),
    }


def _response(
    error: StreamFlowError, instance: str, request_id: str, headers: Mapping[str, str] | None
) -> JSONResponse:
    """With Retry-After for a 429 or 503, and WWW-Authenticate for a 400, 401 or 403 of a key."""
    content = document(error, instance=instance, request_id=request_id)
    status, _ = _status(error)
    pause = 1 if isinstance(error, Overloaded) else RETRY_AFTER_SECONDS
    retry = {"Retry-After": str(pause)} if status == 503 else {}
    every_header = {**(headers or {}), **retry, **key_problems.headers(error)}
    return JSONResponse(content, status_code=status, headers=every_header, media_type=MEDIA_TYPE)


def _code(error: StreamFlowError) -> str:
    return InternalError().code if _status(error) == STATUSES[InternalError] else error.code


def _status(error: StreamFlowError) -> tuple[int, str]:
    if type(error) in STATUSES:
        return STATUSES[type(error)]
    if isinstance(error, ServiceUnavailable):
        return 503, "Service unavailable"
    return STATUSES[InternalError]


def _extensions(error: StreamFlowError) -> dict[str, object]:
    if isinstance(error, MissingFeatures):
        return {"missing_features": error.features}
    if isinstance(error, StaleFeatures):
        return {
            "ages": {
                feature_view: {"age_seconds": age, "max_age_seconds": allowed}
                for feature_view, (age, allowed) in error.ages.items()
            }
        }
    if isinstance(error, Departed):
        return {
            "last_seen": error.last_seen.isoformat(),
            "newest_month": error.newest_month.isoformat(),
        }
    if isinstance(error, NotScored):
        return {"reason": error.reason}
    if isinstance(error, UnseenCategory | UnseenNull):
        return {"feature": error.feature}
    if isinstance(error, InvalidRequest):
        return {"errors": [{"field": field, "fault": fault} for field, fault in error.faults]}
    return {}


def response(
    record: RequestRecord,
    instance: str,
    error: Exception,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The response for `error`, whose code is added to the record; an unexpected one is logged."""
    known = error if isinstance(error, StreamFlowError) else InternalError()
    record.problem = _code(known)
    if known is not error or record.problem != known.code:
        log.failure("request_failed", error, request_id=record.request_id)
    return _response(known, instance, record.request_id, headers)


def respond(
    request: Request, error: Exception, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The same for a request that FastAPI handles."""
    return response(record_of(request), request.scope["path"], error, headers)


async def handle_streamflow_error(request: Request, error: Exception) -> Response:
    """FastAPI's handler of StreamFlowError."""
    return respond(request, error)


async def handle_validation_error(request: Request, error: Exception) -> Response:
    """FastAPI's handler of RequestValidationError."""
    assert isinstance(error, RequestValidationError)
    faults = _faults(error.errors())
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if faults[0][0] == "body" and media_type != "application/json":
        faults = [("body", "must be JSON, sent with Content-Type: application/json")]
    return respond(request, InvalidRequest(faults))


async def handle_http_exception(request: Request, error: Exception) -> Response:
    """FastAPI's handler of HTTPException."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, StreamFlowError):
        return respond(request, error.__cause__)
    known: dict[int, StreamFlowError] = {
        400: InvalidRequest([("body", "must be JSON in UTF-8")]),
        404: NotFound(),
        405: MethodNotAllowed(request.method),
        413: ContentTooLarge(request.scope["path"]),
    }
    return respond(request, known.get(error.status_code, InternalError()), error.headers)


_FAULTS = {
    "string_pattern_mismatch": "has a character that can't be seen",
    "string_unicode": "has a character that isn't Unicode",
    "extra_forbidden": "isn't a field of this request",
}


def _faults(errors: Sequence[ErrorDetails]) -> list[tuple[str, str]]:
    """Pydantic's errors as pairs of field and fault, without the values that were sent."""
    return [
        (
            # A field's name is the client's own text, of any length.
            ".".join(str(part)[:64] for part in error["loc"]),
            _FAULTS.get(error["type"], str(error["msg"])),
        )
        for error in errors
    ]
