"""Feast's Spark offline store, extended: what was known at a moment, and entity rows as a query.

In `feature_store.yaml`: `offline_store: {type: feast_spark.SparkOfflineStore, ...}`. Feast looks
for the class and its configuration as attributes of this package; they are loaded at first access,
because importing Feast takes seconds, and only they need pyspark.

Public modules: `session` (Spark's session by a store's configuration), `record_batches` (a data
frame's rows as Arrow, partition by partition), `parquet_files` (files as temporary views).

The package imports nothing of `streamflow`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast_spark.offline import SparkOfflineStore, SparkOfflineStoreConfig

__all__ = ["SparkOfflineStore", "SparkOfflineStoreConfig"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.offline"), name)
