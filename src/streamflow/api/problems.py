"""The answers of the API when there is no other: RFC 9457 problem details.

HTTP status codes are decided here and in `app` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from streamflow import log
from streamflow.api import key_problems
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
    UnservableModel,
)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
LARGEST_BODY_BYTES = 64 * 1024
BATCH_PATH = "/predict/batch"
# A thousand ids of 64 characters, each escaped as two \uXXXX.
LARGEST_BATCH_BYTES = 1024 * 1024
# The lines of a request up to its body.
LARGEST_HEAD_BYTES = 64 * 1024
SHOWN_FAULTS = 10


class InvalidRequest(StreamFlowError):
    """`faults` holds pairs of the field at fault and what is wrong with it."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        self.faults = tuple(faults)[:SHOWN_FAULTS]
        told = "; ".join(f"{field}: {fault}" for field, fault in self.faults)
        super().__init__(
            f"The request isn't valid: {told}.", "Correct it; GET /docs shows an example."
        )


class NotFound(StreamFlowError):
    def __init__(self) -> None:
        super().__init__("There is nothing at this address.", "GET /docs lists every address.")


class MethodNotAllowed(StreamFlowError):
    def __init__(self, method: str) -> None:
        super().__init__(
            f"This address doesn't answer {method}.", "GET /docs lists what each address answers."
        )


class ContentTooLarge(StreamFlowError):
    def __init__(self, path: str = "/predict") -> None:
        super().__init__(
            f"The request's body is larger than {largest_body(path)} bytes.",
            "Send an id a request to /predict, up to 1,000 to /predict/batch; "
            "for more, `streamflow predict --file`.",
        )


class HeadTooLarge(StreamFlowError):
    def __init__(self) -> None:
        super().__init__(
            f"The request's address and headers are larger than {LARGEST_HEAD_BYTES} bytes.",
            "Send ids in the body.",
        )


class InternalError(StreamFlowError):
    def __init__(self) -> None:
        super().__init__(
            "The API failed while it answered.", "Look for the request_id in the log of the API."
        )


STATUSES: Mapping[type[StreamFlowError], tuple[int, str]] = {
    **key_problems.STATUSES,
    UnknownEntity: (404, "Unknown entity"),
    NotFound: (404, "Not found"),
    MethodNotAllowed: (405, "Method not allowed"),
    StaleFeatures: (409, "Features too old"),
    ContentTooLarge: (413, "Content too large"),
    InvalidRequest: (422, "Invalid request"),
    MissingFeatures: (422, "Missing features"),
    UnseenCategory: (422, "Value unknown to the model"),
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


def largest_body(path: str) -> int:
    return LARGEST_BATCH_BYTES if path == BATCH_PATH else LARGEST_BODY_BYTES


def document(error: StreamFlowError, *, instance: str, request_id: str) -> dict[str, Any]:
    """The problem details of `error`; anything that isn't in `STATUSES` is told without details."""
    if _status(error) == STATUSES[InternalError]:
        error = InternalError()
    status, title = _status(error)
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


def answer(
    error: StreamFlowError,
    *,
    instance: str,
    request_id: str,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer for `error`; a 429 or 503 says when to come again, a 401 or 403 with what."""
    content = document(error, instance=instance, request_id=request_id)
    status = content["status"]
    pause = 1 if isinstance(error, Overloaded) else RETRY_AFTER_SECONDS
    retry = {"Retry-After": str(pause)} if status == 503 else {}
    told = {**(headers or {}), **retry, **key_problems.headers(error)}
    return JSONResponse(content, status_code=status, headers=told, media_type=MEDIA_TYPE)


def code(error: StreamFlowError) -> str:
    """The code that the answer for `error` has."""
    return InternalError().code if _status(error) == STATUSES[InternalError] else error.code


def _status(error: StreamFlowError) -> tuple[int, str]:
    if type(error) in STATUSES:
        return STATUSES[type(error)]
    if isinstance(error, ServiceUnavailable):
        return 503, "Service unavailable"
    return STATUSES[InternalError]


def _extensions(error: StreamFlowError) -> dict[str, Any]:
    if isinstance(error, MissingFeatures):
        return {"missing_features": error.features}
    if isinstance(error, StaleFeatures):
        return {
            "ages": {
                feature_view: {"age_seconds": age, "max_age_seconds": allowed}
                for feature_view, (age, allowed) in error.ages.items()
            }
        }
    if isinstance(error, UnseenCategory):
        return {"feature": error.feature}
    if isinstance(error, InvalidRequest):
        return {"errors": [{"field": field, "fault": fault} for field, fault in error.faults]}
    return {}


FAULTS = {
    "string_pattern_mismatch": "has a character that can't be seen",
    "string_unicode": "has a character that isn't Unicode",
    "extra_forbidden": "isn't a field of this request",
}


def faults(errors: Sequence[Any]) -> list[tuple[str, str]]:
    """Pydantic's errors as pairs of field and fault, without the values that were sent."""
    return [
        (
            # A field's name is the client's own text, of any length.
            ".".join(str(part)[:64] for part in error["loc"]),
            FAULTS.get(error["type"], str(error["msg"])),
        )
        for error in errors
    ]


@dataclass(slots=True)
class Exchange:
    """One request and its answer, as the metrics and the log tell them.

    `arrived` is by `time.perf_counter`.
    """

    request_id: str
    method: str
    client: tuple[str, int] | None
    arrived: float
    traceparent: bytes | None = None
    route: str | None = None
    model_version: int | None = None
    problem: str | None = None
    key_id: int | None = None


def exchange_of(request: Request) -> Exchange:
    exchange: Exchange = request.scope["exchange"]
    return exchange


def tell(
    exchange: Exchange,
    instance: str,
    error: Exception,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Answer `error`, and note it for the metrics and the log; what nobody foresaw, in detail."""
    known = error if isinstance(error, StreamFlowError) else InternalError()
    exchange.problem = code(known)
    if known is not error or exchange.problem != known.code:
        log.failure("request_failed", error, request_id=exchange.request_id)
    return answer(known, instance=instance, request_id=exchange.request_id, headers=headers)


def respond(
    request: Request, error: Exception, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    return tell(exchange_of(request), request.scope["path"], error, headers)


async def on_streamflow_error(request: Request, error: Exception) -> Response:
    return respond(request, error)


async def on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = faults(error.errors())
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found[0][0] == "body" and media_type != "application/json":
        found = [("body", "must be JSON, sent with Content-Type: application/json")]
    return respond(request, InvalidRequest(found))


async def on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answers: dict[int, StreamFlowError] = {
        400: InvalidRequest([("body", "must be JSON in UTF-8")]),
        404: NotFound(),
        405: MethodNotAllowed(request.method),
        413: ContentTooLarge(request.scope["path"]),
    }
    return respond(request, answers.get(error.status_code, InternalError()), error.headers)
