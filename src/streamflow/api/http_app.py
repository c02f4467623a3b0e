"""What the app offers to the HTTP protocol beside ASGI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from streamflow.api.request import RequestRecord
from streamflow.errors import StreamFlowError

Headers = Sequence[tuple[bytes, bytes]]
Client = tuple[str, int] | None
# Sends a response: its status, headers and body.
Send = Callable[[int, Headers, bytes], None]


class HttpApp(Protocol):
    """What the app offers to `direct_http` and `limited_http`."""

    def begin(
        self, method: str, url: bytes, headers: Headers, client: Client
    ) -> RequestRecord | None:
        """Admit a POST or a GET whose head is complete; None if it must go through ASGI."""

    def respond(self, record: RequestRecord, body: bytes, send: Send) -> bool:
        """Respond to what `begin` admitted, at once or later.

        Returns False if the request must go through ASGI after all; its scope then holds the record
        as `request.SCOPE_KEY`, so that it isn't admitted twice.
        """

    def refuse(self, error: StreamFlowError, client: Client, send: Send) -> None:
        """Respond to a request whose head is malformed, too large, or takes too long."""
