"""Queries in DuckDB's SQL as Spark reads them."""

from __future__ import annotations

from collections.abc import Callable


def spark_sql(text: str, view_of: Callable[[str, str], str]) -> str:
    """The query, or the condition, in Spark's SQL; `view_of` gives the view that has the rows of a
    table, by its name and its schema ('' where the text names none)."""
    from sqlglot import exp, parse_one

    tree = parse_one(text, read="duckdb")
    for table in [*tree.find_all(exp.Table)]:
        view = exp.to_identifier(view_of(table.name, table.db))
        alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name, True))
        table.replace(exp.Table(this=view, alias=alias.copy()))
    translated: str = tree.sql("spark", comments=False)
    return translated
