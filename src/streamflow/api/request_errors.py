"""What can be wrong with a request itself, and the error for all that nobody expected."""

from __future__ import annotations

from collections.abc import Sequence

from streamflow.api.limits import BODY_SECONDS, LARGEST_HEAD_BYTES, largest_body
from streamflow.errors import StreamFlowError

SHOWN_FAULTS = 10
CONNECTION_ENDED = "the connection ended before the body"


class InvalidRequest(StreamFlowError):
    """A body or a parameter that isn't valid.

    `faults` holds pairs of the field at fault and what is wrong with it.
    """

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        self.faults = tuple(faults)[:SHOWN_FAULTS]
        listed = "; ".join(f"{field}: {fault}" for field, fault in self.faults)
        super().__init__(
            f"The request isn't valid: {listed}.", "Correct it; GET /docs shows an example."
        )


class NotFound(StreamFlowError):
    """No route has this address."""

    def __init__(self) -> None:
        super().__init__("There is nothing at this address.", "GET /docs lists every address.")


class MethodNotAllowed(StreamFlowError):
    """The route exists, for other methods."""

    def __init__(self, method: str) -> None:
        super().__init__(
            f"This address doesn't answer {method}.", "GET /docs lists what each address answers."
        )


class ContentTooLarge(StreamFlowError):
    """A body with more bytes than its route allows."""

    def __init__(self, path: str = "/predict") -> None:
        super().__init__(
            f"The request's body is larger than {largest_body(path)} bytes.",
            "Send an id a request to /predict, up to 1,000 to /predict/batch; "
            "for more, `streamflow predict --file`.",
        )


class HeadTooLarge(StreamFlowError):
    """An address and headers with more bytes than is allowed."""

    def __init__(self) -> None:
        super().__init__(
            f"The request's address and headers are larger than {LARGEST_HEAD_BYTES} bytes.",
            "Send ids in the body.",
        )


class MalformedRequest(StreamFlowError):
    """What a client sent isn't HTTP."""

    def __init__(self, fault: str) -> None:
        super().__init__(
            f"The request isn't HTTP/1.1 as RFC 9112 defines it: {fault}.",
            "Send it by an HTTP library; `curl -v` shows a request byte for byte.",
        )


class RequestTimeout(StreamFlowError):
    """A head or a body that took too long to arrive."""

    def __init__(self, part: str = "body", seconds: float = BODY_SECONDS) -> None:
        super().__init__(
            f"The {part} of the request didn't arrive within {seconds:g} seconds.",
            "Send it again, in one go.",
        )


class InternalError(StreamFlowError):
    """An error without a status of its own; its details are in the log alone."""

    def __init__(self) -> None:
        super().__init__(
            "The API failed while it answered.", "Look for the request_id in the log of the API."
        )
