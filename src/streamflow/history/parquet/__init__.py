"""History of PostgreSQL as Parquet files in the home, for engines that read columns.

May import: other modules of history, columnar, postgres, top modules.
"""

__all__ = ["history_files"]
