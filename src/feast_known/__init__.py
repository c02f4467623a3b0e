"""What our offline stores share: known rows of a Feast source, and views in a join, in any SQL.

The offline stores of `feast_postgres`, `feast_duckdb` and `feast_spark` share it. The package
imports nothing of `streamflow`.
"""

__all__ = ["conditions", "names", "view_query"]
