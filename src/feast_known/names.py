"""Names and texts in standard SQL, as PostgreSQL and DuckDB have it."""

from __future__ import annotations


def quoted(name: str) -> str:
    """The name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text as a literal."""
    return "'" + text.replace("'", "''") + "'"
