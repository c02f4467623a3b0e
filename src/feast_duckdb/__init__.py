"""A Feast offline store for DuckDB: what was known at a moment, and entity rows as a query.

In `feature_store.yaml`: `offline_store: {type: feast_duckdb.DuckDBOfflineStore, ...}`. Feast looks
for the class and its configuration as attributes of this package; they are loaded at first access,
because importing Feast takes seconds.

The package imports nothing of `streamflow`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast_duckdb.offline import DuckDBOfflineStore, DuckDBOfflineStoreConfig

__all__ = ["DuckDBOfflineStore", "DuckDBOfflineStoreConfig"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.offline"), name)
