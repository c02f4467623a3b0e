"""One request and its response, as the metrics, the log and the traces show them."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

SCOPE_KEY = "streamflow.request"
# In the scope of a request whose body will never be complete: the error to respond with.
FAULT_KEY = "streamflow.fault"


@dataclass(slots=True)
class RequestRecord:
    """What is known of a request so far; the parts that handle it add to it.

    `arrived` is a time of `time.perf_counter`. `client` is an address and a port. `route` is a
    template such as `/features/{user_id}`, `path` the decoded path where that is another, and
    `problem` the code of the problem in the response.
    """

    request_id: str
    method: str
    client: tuple[str, int] | None
    arrived: float
    traceparent: bytes | None = None
    route: str | None = None
    path: str | None = None
    model_version: int | None = None
    problem: str | None = None
    key_id: int | None = None


def record_of(request: Request) -> RequestRecord:
    """The record that the middleware put into the request's scope."""
    record: RequestRecord = request.scope[SCOPE_KEY]
    return record
