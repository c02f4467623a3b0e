"""What goes wrong, as a page with a status."""

from __future__ import annotations

from collections.abc import Mapping

from streamflow.console.access.errors import (
    FieldRefused,
    ForeignHost,
    FormRefused,
    FormTooLarge,
    PageNotFound,
)
from streamflow.console.access.visit import Visit
from streamflow.console.page import Page
from streamflow.console.texts import text
from streamflow.errors import (
    AccessRefused,
    DataRefused,
    ModelRefused,
    NoAnswer,
    NotPermitted,
    ServiceUnavailable,
    StreamFlowError,
    UnknownPrediction,
)
from streamflow.keys.errors import RateLimited, ScopeMissing
from streamflow.monitoring.recorded import NotMonitored
from streamflow.scores.one_score import NotScored, UnknownScore
from streamflow.scores.scorings import NoScoring

# The first kind that an error is of decides.
STATUSES: Mapping[type[StreamFlowError], int] = {
    ScopeMissing: 403,
    FormRefused: 403,
    RateLimited: 429,
    ForeignHost: 421,
    FormTooLarge: 413,
    AccessRefused: 401,
    FieldRefused: 400,
    PageNotFound: 404,
    UnknownScore: 404,
    NoScoring: 404,
    NotMonitored: 404,
    UnknownPrediction: 404,
    NotScored: 404,
    NotPermitted: 403,
    ServiceUnavailable: 503,
    DataRefused: 409,
    ModelRefused: 409,
    NoAnswer: 409,
}


def status_of(error: Exception) -> int:
    """The HTTP status of a page about the error."""
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 500)


def problem(error: Exception, visited: Visit, status: int) -> Page:
    """A page that says what happened and what to do; without a key it has the form to sign in."""
    known = isinstance(error, StreamFlowError) and status != 500
    message = error.message if known and isinstance(error, StreamFlowError) else text("failed")
    advice = error.next if known and isinstance(error, StreamFlowError) else text("failed.next")
    code = error.code if known and isinstance(error, StreamFlowError) else "internal_error"
    back = visited.address if status == 401 else "/"
    return Page(
        "problem.html",
        text("problem.sign_in") if status == 401 else text("problem.title"),
        {
            "status": status,
            "message": message,
            "next": advice,
            "signs_in": status == 401,
            "back": back,
        },
        {"code": code, "status": status, "detail": message, "next": advice},
        status,
    )
