"""Rows of history that are brought to PostgreSQL, for a query that joins them with rows there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamflow.columnar.literals import rendered
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, identifier, quoted, subquery

# By query, the parts of it that are rows of history, and the named query of those that it needs.
BROUGHT: Mapping[str, Mapping[str, str]] = {
    "pair_labels": {"label_history": "brought_of_entities"},
    "list_candidates": {"worth": "brought", "newest_month": "brought_of_month"},
    "list_parts": {"worth": "brought", "label_history": "brought_of_month"},
    "campaign_sides": {"label_history": "brought_of_month"},
    "newest_known_row": {"history": "brought_of_entities"},
    "corrected_rows": {"history": "brought_of_corrected"},
    "known_versions": {"history": "brought_of_entities"},
    "segment_ranks": {"history": "brought_with_value"},
    "online_rows": {"history": "brought_of_entities", "kept_rows": "brought_of_entities"},
}
_POSTGRES_TYPES = {
    "string": "text",
    "int64": "bigint",
    "int32": "integer",
    "double": "double precision",
    "bool": "boolean",
    "date32[day]": "date",
    "timestamp[us, tz=UTC]": "timestamp with time zone",
}


def query_of(
    name: str, part: str, names: Mapping[str, Composable], values: Mapping[str, Any]
) -> str:
    """The rows that the query `name` needs as its `part`, in DuckDB's SQL."""
    entities = values.get("entities") or values.get("entity_ids") or [values.get("entity_id")]
    needed = {"as_of": values.get("month", values.get("as_of")), "entities": list(entities)}
    needed |= {one: values[one] for one in ("known_at", "value") if one in values}
    parts = {"rows": names[part], **{one: names[one] for one in ("key", "column") if one in names}}
    return rendered(BROUGHT[name][part], parts, needed)


def bring(database: Database, place: str, batches: Any, key: Composable | None) -> Composable:
    """A temporary table with the rows of a reader of Arrow batches, until the transaction ends;
    with an index on `key`."""
    import pyarrow as pa
    import pyarrow.csv

    types = {field.name: _POSTGRES_TYPES[str(field.type)] for field in batches.schema}
    table = identifier(place)
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in types.items())
    database.execute("create_brought", {"table": table, "columns": subquery(columns)})
    options = pa.csv.WriteOptions(include_header=False)
    with database.connection() as connection, connection.cursor() as cursor:
        copying = database.render("copy_staging", {"staging": table})
        with cursor.copy(copying.encode()) as copy:
            for batch in batches:
                buffer = pa.BufferOutputStream()
                pa.csv.write_csv(batch, buffer, options)
                copy.write(buffer.getvalue())
    if key is not None:
        database.execute("index_brought", {"table": table, "key": key})
    database.execute("analyze_staging", {"staging": table})
    return table
