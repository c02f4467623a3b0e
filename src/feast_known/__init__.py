"""The rows of a Feast source that were known at a moment, for offline stores in any SQL.

The offline stores of `feast_postgres`, `feast_duckdb` and `feast_spark` share it. The package
imports nothing of `streamflow`.
"""

__all__ = ["conditions"]
