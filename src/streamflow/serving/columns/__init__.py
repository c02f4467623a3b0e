"""Online features of many entities as columns, in which no value becomes a Python object; no HTTP.

May import what serving may.
"""

__all__ = ["online_columns", "postgres_columns"]
