"""Feast: definitions and types, the point-in-time join, materialization, past online features.

May import: history, training, columnar, postgres, top modules.
"""

from streamflow.features.sources import history_source

__all__ = [
    "complete_rows",
    "definitions",
    "engines",
    "entity_sample",
    "feature_join",
    "feature_store",
    "feature_types",
    "feature_views",
    "history_source",
    "kept",
    "materialization",
    "month_rows",
    "online_history",
    "point_in_time",
    "use_case_check",
]
