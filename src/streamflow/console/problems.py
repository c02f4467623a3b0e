"""What goes wrong, as a page with a status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamflow.console.access.errors import (
    FieldRefused,
    ForeignHost,
    FormRefused,
    FormTooLarge,
    PageNotFound,
)
from streamflow.console.access.visit import Visit
from streamflow.console.acts.act import ActFailed
from streamflow.console.page import Page
from streamflow.console.texts import text
from streamflow.errors import (
    AccessRefused,
    DataRefused,
    InvalidSettings,
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
    InvalidSettings: 409,
}


@dataclass(frozen=True)
class Described:
    """An error in words; of one that nobody expected, no details."""

    code: str
    message: str
    next: str


def described(error: Exception) -> Described:
    """What is said of the error."""
    if isinstance(error, StreamFlowError) and status_of(error) != 500:
        return Described(error.code, error.message, error.next)
    return Described("internal_error", text("failed"), text("failed.next"))


def status_of(error: Exception) -> int:
    """The HTTP status of a page about the error."""
    if isinstance(error, ActFailed):
        return error.status
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 500)


def problem(error: Exception, visited: Visit, status: int) -> Page:
    """A page that says what happened and what to do; without a key it has the form to sign in."""
    said = described(error)
    back = visited.address if status == 401 else "/"
    return Page(
        "problem.html",
        text("problem.sign_in") if status == 401 else text("problem.title"),
        {
            "status": status,
            "message": said.message,
            "next": said.next,
            "signs_in": status == 401,
            "back": back,
        },
        {"code": said.code, "status": status, "detail": said.message, "next": said.next},
        status,
    )
