"""The statements of `sql/queries.sql` by name, and identifiers and values to put into them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Literal

from psycopg import sql
from psycopg.abc import AdaptContext
from psycopg.sql import Composable as Composable


@cache
def named_queries() -> dict[str, str]:
    """Every statement of `sql/queries.sql`, by the name in the `-- name:` line above it."""
    return queries_of((resources.files("streamflow.postgres") / "sql" / "queries.sql").read_text())


def queries_of(text: str) -> dict[str, str]:
    """The statements of such a file, by the name in the `-- name:` line above each."""
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def composed(
    name: str,
    parts: Mapping[str, Composable] | None = None,
    others: Mapping[str, str] | None = None,
) -> sql.Composed:
    """The named query with its `{…}`, to be executed with values, if only with none.

    `others` has texts that come in place of those of `sql/queries.sql`, by name.

    In such a query a per cent sign is written twice, also where an identifier has one.
    """
    escaped = {placeholder: _Escaped(part) for placeholder, part in (parts or {}).items()}
    text = (others or {}).get(name) or named_queries()[name]
    return sql.SQL(text).format(**escaped)


def statement(name: str, parts: Mapping[str, Composable]) -> bytes:
    """The named query with its `{…}` as the server parses it: its parameters are `$1`, `$2`, …"""
    return sql.SQL(named_queries()[name]).format(**parts).as_bytes(None)


class _Escaped(Composable):
    """A part of a query, with the per cent signs of its identifiers and literals written twice.

    In SQL they are already.
    """

    def __init__(self, part: Composable) -> None:
        super().__init__(part)
        self._part = part

    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        if isinstance(self._part, sql.Composed):
            return b"".join(_Escaped(one).as_bytes(context) for one in self._part)
        text = self._part.as_bytes(context)
        if isinstance(self._part, sql.Identifier | sql.Literal):
            return text.replace(b"%", b"%%")
        return text


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


def quoted(name: str) -> str:
    """The name as an identifier, for SQL that is text."""
    return '"' + name.replace('"', '""') + '"'


def definitions(types: Mapping[str, str]) -> sql.Composed:
    """Column definitions, each after a comma, from each column's name and PostgreSQL type."""
    return sql.SQL("").join(
        sql.SQL(", {} {}").format(sql.Identifier(name), sql.SQL(kind))
        for name, kind in types.items()
    )


def one_of(name: str, values: Sequence[object]) -> sql.Composed:
    """The condition that the column has one of the values; null where it is null."""
    listed = sql.SQL(", ").join(map(sql.Literal, values))
    return sql.SQL("{} IN ({})").format(sql.Identifier(name), listed)


def compared(name: str, operator: Literal[">=", ">", "<=", "<"], number: float) -> sql.Composed:
    """The condition that the column's number compares so with `number`; null where it is null."""
    return sql.SQL("{} {} {}").format(sql.Identifier(name), sql.SQL(operator), sql.Literal(number))
