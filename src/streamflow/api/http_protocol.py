"""Which HTTP protocol uvicorn runs.

`direct_http` uses private parts of uvicorn. It is used only with the versions in `TESTED`, and only
if the setting STREAMFLOW_DIRECT_HTTP allows it. Without it requests go through ASGI; responses are
the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from streamflow import log

# Versions with which the API's tests pass both ways; pyproject.toml bounds them.
TESTED: Mapping[str, str] = {"uvicorn": "0.54.0", "httptools": "0.9.0"}


def http_protocol(direct: bool) -> type[asyncio.Protocol] | str:
    """The protocol as uvicorn's option `http` takes it."""
    installed = {name: _version(name) for name in TESTED}
    if direct and installed == TESTED:
        from streamflow.api.direct_http import DirectHttpProtocol

        return DirectHttpProtocol
    if direct:
        log.warning("direct_http_off", installed=installed, tested=dict(TESTED))
    try:
        from streamflow.api.limited_http import LimitedHttpProtocol
    except ImportError as error:  # of a uvicorn that is built otherwise, or without httptools
        log.warning("http_limits_off", installed=installed, message=str(error))
        return "auto"
    return LimitedHttpProtocol


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
