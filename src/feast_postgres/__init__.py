"""Feast's online and offline store for PostgreSQL.

In `feature_store.yaml`: `online_store: {type: feast_postgres.PostgresOnlineStore, ...}` and
`offline_store: {type: feast_postgres.PostgresOfflineStore, ...}`.

Feast looks for a store and its configuration as attributes of the module that `type` names. They
are loaded when asked for: importing Feast takes seconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast_postgres.offline import PostgresOfflineStore, PostgresOfflineStoreConfig
    from feast_postgres.online import PostgresOnlineStore, PostgresOnlineStoreConfig

__all__ = [
    "PostgresOfflineStore",
    "PostgresOfflineStoreConfig",
    "PostgresOnlineStore",
    "PostgresOnlineStoreConfig",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "online" if "Online" in name else "offline"
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
