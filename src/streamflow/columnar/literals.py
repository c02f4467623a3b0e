"""Values as literals in DuckDB's SQL, and named queries with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources

from streamflow.postgres.queries import Composable, composed, queries_of

_MICROSECOND = timedelta(microseconds=1)


def literal(value: object) -> str:
    """The value, or the list of values, as DuckDB reads it. Raises TypeError for other types."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"'{value!r}'::double"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise TypeError(f"{value} has no time zone")
        return f"'{value.astimezone(UTC).isoformat(sep=' ')}'::timestamptz"
    if isinstance(value, date):
        return f"'{value.isoformat()}'::date"
    if isinstance(value, timedelta):
        return f"'{value // _MICROSECOND} microseconds'::interval"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    raise TypeError(f"DuckDB is given no {type(value).__name__}")


def rendered(
    name: str, parts: Mapping[str, Composable] | None, values: Mapping[str, object]
) -> str:
    """The named query with its parts and values in it: the text of this room's
    `sql/queries.sql`, or else PostgreSQL's."""
    text = composed(name, parts, _own_texts()).as_string(None)
    return re.sub(
        r"%%|%\((\w+)\)s",
        lambda found: literal(values[found[1]]) if found[1] else "%",
        text,
    )


@cache
def _own_texts() -> dict[str, str]:
    return queries_of((resources.files("streamflow.columnar") / "sql" / "queries.sql").read_text())
