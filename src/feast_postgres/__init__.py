"""Feast's online and offline store for PostgreSQL, and its engine for both in one database.

In `feature_store.yaml`: `online_store: {type: feast_postgres.PostgresOnlineStore, ...}`,
`offline_store: {type: feast_postgres.PostgresOfflineStore, ...}` and
`batch_engine: feast_postgres.PostgresEngine`.

Feast looks for each and its configuration as attributes of the module that `type` names. They
are loaded when asked for: importing Feast takes seconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast_postgres.engine import PostgresEngine, PostgresEngineConfig
    from feast_postgres.offline import PostgresOfflineStore, PostgresOfflineStoreConfig
    from feast_postgres.online import PostgresOnlineStore, PostgresOnlineStoreConfig

__all__ = [
    "PostgresEngine",
    "PostgresEngineConfig",
    "PostgresOfflineStore",
    "PostgresOfflineStoreConfig",
    "PostgresOnlineStore",
    "PostgresOnlineStoreConfig",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = next(module for module in ("engine", "offline", "online") if module in name.lower())
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
