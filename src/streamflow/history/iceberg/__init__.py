"""History in tables of Apache Iceberg, whose catalog is in PostgreSQL.

May import: history's forgotten, columnar, postgres, top modules.
"""

__all__ = ["session"]
