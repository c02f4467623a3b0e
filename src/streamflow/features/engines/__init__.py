"""Which engine reads history, and Feast's store for it.

May import: other modules of features, history, columnar, postgres, top modules.
"""

__all__ = ["history_database", "offline_store"]
