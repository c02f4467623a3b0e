"""From an entity's id to a score with its receipt; no HTTP.

May import: features, registry, training, postgres, top modules.
"""

__all__ = [
    "batching",
    "callbacks",
    "challenger",
    "columns",
    "configured_online_store",
    "feature_status",
    "online_store",
    "prediction_log",
    "prediction_log_partitions",
    "prediction_log_rows",
    "prediction_log_writer",
    "predictor",
    "responses",
    "scoring",
    "watcher",
]
