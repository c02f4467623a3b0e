"""The statements of `sql/queries.sql` by name, and identifiers and values to put into them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

from psycopg import sql
from psycopg.sql import Composable as Composable


@cache
def named_queries() -> dict[str, str]:
    """Every statement of `sql/queries.sql`, by the name in the `-- name:` line above it."""
    text = (resources.files("streamflow.postgres") / "sql" / "queries.sql").read_text()
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def identifier(*names: str) -> sql.Identifier:
    """A quoted name; several are joined by dots, as schema and table are."""
    return sql.Identifier(*names)


def literal(value: object) -> sql.Literal:
    """A quoted value, for the few statements that take no parameter."""
    return sql.Literal(value)


def subquery(text: str) -> sql.SQL:
    """A rendered query (see `Database.render`), for a placeholder of another one with values."""
    return sql.SQL(text.replace("%", "%%"))


def columns(names: list[str], prefix: str | None = None) -> sql.Composed:
    """The names as a comma-separated list of quoted identifiers."""
    return sql.SQL(", ").join(
        sql.Identifier(prefix, name) if prefix else sql.Identifier(name) for name in names
    )


def definitions(types: Mapping[str, str]) -> sql.Composed:
    """Column definitions, each after a comma, from each column's name and PostgreSQL type."""
    return sql.SQL("").join(
        sql.SQL(", {} {}").format(sql.Identifier(name), sql.SQL(kind))
        for name, kind in types.items()
    )
