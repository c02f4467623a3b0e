"""The SQL of `sql/queries.sql`, by the name above each statement."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from psycopg import sql


@cache
def named_queries() -> dict[str, str]:
    """Every statement of `sql/queries.sql`, by the name in the `-- name:` line above it."""
    text = (resources.files("streamflow.postgres") / "sql" / "queries.sql").read_text()
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def columns(names: list[str], prefix: str | None = None) -> sql.Composed:
    """The names as a comma-separated list of quoted identifiers, for a query's placeholder."""
    return sql.SQL(", ").join(
        sql.Identifier(prefix, name) if prefix else sql.Identifier(name) for name in names
    )
