"""Which HTTP protocol uvicorn runs, and what the app offers to it beside ASGI.

`direct_http` uses private parts of uvicorn. It is used only with the versions in `TESTED`, and only
if the setting STREAMFLOW_DIRECT_HTTP allows it. Without it requests go through ASGI; responses are
the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from streamflow import log
from streamflow.api.request import RequestRecord

# Versions with which the API's tests pass both ways; pyproject.toml bounds them.
TESTED: Mapping[str, str] = {"uvicorn": "0.54.0", "httptools": "0.9.0"}

Headers = Sequence[tuple[bytes, bytes]]
Client = tuple[str, int] | None
# Sends a response: its status, headers and body.
Send = Callable[[int, Headers, bytes], None]


class HttpApp(Protocol):
    """What the app offers to `direct_http` and `head_limits`."""

    def begin(self, url: bytes, headers: Headers, client: Client) -> RequestRecord | None:
        """Admit a POST whose head is complete; None if it must go through ASGI."""

    def respond(self, record: RequestRecord, body: bytes, send: Send) -> bool:
        """Respond to what `begin` admitted, at once or later.

        Returns False if the request must go through ASGI after all; its scope then holds the record
        as `request.SCOPE_KEY`, so that it isn't admitted twice.
        """

    def refuse_head(self, client: Client, send: Send) -> None:
        """Respond to a request whose address and headers are too large, before their end."""


def http_protocol(direct: bool) -> type[asyncio.Protocol] | str:
    """The protocol as uvicorn's option `http` takes it."""
    installed = {name: _version(name) for name in TESTED}
    if direct and installed == TESTED:
        from streamflow.api.direct_http import DirectHttpProtocol

        return DirectHttpProtocol
    if direct:
        log.warning("direct_http_off", installed=installed, tested=dict(TESTED))
    try:
        from streamflow.api.head_limits import LimitedHttpProtocol
    except ImportError as error:  # of a uvicorn that is built otherwise, or without httptools
        log.warning("head_limits_off", installed=installed, message=str(error))
        return "auto"
    return LimitedHttpProtocol


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
