"""How the OpenAPI document describes API keys. The middleware is what checks them."""

from __future__ import annotations

from fastapi import Security, params
from fastapi.security import HTTPBearer

from streamflow.keys.api_keys import Scope

_BEARER = HTTPBearer(
    scheme_name="key",
    description="A key from `streamflow keys create`. An API that listens on this machine alone "
    "wants none until the first one is made.",
    auto_error=False,
)


def requires(scope: Scope) -> list[params.Depends]:
    """The `dependencies` of a route that is documented as one that needs a key with `scope`."""
    return [Security(_BEARER, scopes=[scope.value])]
