"""DuckDB: sessions that run the named queries of history over Parquet files.

May import: postgres, top modules.
"""

__all__ = ["literals", "session"]
