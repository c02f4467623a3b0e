"""Which engine reads history, Feast's store for it, and the columns of what is read.

May import: other modules of features, history, columnar, postgres, top modules.
"""

__all__ = [
    "feature_errors",
    "history_database",
    "offline_store",
    "row_columns",
    "spark_errors",
    "spark_history",
]
