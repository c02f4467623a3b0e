"""Feast's offline store, online store and materialization engine for PostgreSQL.

In `feature_store.yaml`: `online_store: {type: feast_postgres.PostgresOnlineStore, ...}`,
`offline_store: {type: feast_postgres.PostgresOfflineStore, ...}` and
`batch_engine: feast_postgres.PostgresEngine`. Feast looks for each class and its configuration as
attributes of this package; they are loaded at first access, because importing Feast takes seconds.

Public modules, for processes that read the online store's tables without Feast:
`online_statement` (prepares and reads), `event_loop_connection` (reads without blocking an event
loop), `online_rows` (the rows read).

The package imports nothing of `streamflow`. It logs by the standard library's `logging` only, under
the names of its modules.
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
