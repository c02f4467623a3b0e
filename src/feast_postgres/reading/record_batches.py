"""The rows of a query as Arrow record batches, in which no value becomes a Python object."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pyarrow as pa
from feast.infra.utils.postgres.connection_utils import (
    _get_conn,
    _get_conn_kwargs,
    _get_conninfo,
)
from feast.type_map import pg_type_code_to_arrow
from psycopg.conninfo import make_conninfo

from feast_known.names import quoted

if TYPE_CHECKING:
    from feast.infra.utils.postgres.postgres_config import PostgreSQLConfig

# Private parts of Feast used in this module: the three functions of connection_utils.

# Of the session that a query is run in. The planner expects few rows of each part of a join by time
# and would choose nested loops: 45 s for 7,043 entities and four views, 0.2 s without. Merge joins
# would sort first what is joined by hashes in half the time.
_SESSION = {
    "default_transaction_read_only": "on",
    "enable_nestloop": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "TimeZone": "UTC",
}
# Hash tables of a hundred thousand rows fit in it. A server that allows more keeps its own value.
_WORK_MEMORY = "32MB"
# Types of PostgreSQL that come as Feast's type for them, alone and in arrays.
_BATCH_OPTION = "adbc.postgresql.batch_size_hint_bytes"
_CASTS = {"numeric": "float8", "uuid": "text", "date": "timestamp"}


def record_batches(
    config: PostgreSQLConfig,
    query: str,
    ordered_by: Sequence[str] = (),
    then_by: Sequence[str] = (),
    batch_bytes: int | None = None,
) -> Generator[pa.RecordBatch]:
    """The rows of the query in Feast's types; the first batch has none, and tells the schema.

    With `ordered_by`, names of columns, rows ascend by these as texts, compared by their bytes, and
    then by the columns `then_by`, which aren't returned. A batch has `batch_bytes` or little more.
    A connection is held until the last batch is read or the iterator is closed. Times are in UTC,
    without a zone. Raises errors of psycopg and of Arrow.
    """
    # psycopg opens the first connection, as its errors say why the server can't be reached.
    with _get_conn(config) as connection:
        query, schema = _described(connection, query, ordered_by, then_by)
    yield pa.RecordBatch.from_pylist([], schema)
    from adbc_driver_postgresql import dbapi

    arguments = _get_conn_kwargs(config)
    options = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    arguments["options"] = f"{arguments['options']} {options}"
    given = {name: value for name, value in arguments.items() if value is not None}
    address = make_conninfo(_get_conninfo(config), **given)
    with (
        _errors_of_psycopg(dbapi.Error, OSError),
        dbapi.connect(address, autocommit=True) as reading,
        reading.cursor() as cursor,
    ):
        cursor.execute(
            f"SELECT set_config('work_mem', '{_WORK_MEMORY}', false) WHERE "
            f"pg_size_bytes(current_setting('work_mem')) < pg_size_bytes('{_WORK_MEMORY}')"
        )
        cursor.fetchall()
        if batch_bytes is not None:
            cursor.adbc_statement.set_options(**{_BATCH_OPTION: str(batch_bytes)})
        cursor.execute(query)
        for batch in cursor.fetch_record_batch():
            yield batch.cast(schema)


@contextmanager
def _errors_of_psycopg(*kinds: type[Exception]) -> Iterator[None]:
    """Raise errors of these kinds as psycopg's for the same SQLSTATE, without the query's text.

    Those that end a query under way come through Arrow, as an OSError that has none.
    """
    try:
        yield
    except kinds as error:
        message = str(error).partition("\n\nQuery was:")[0]
        try:
            known = psycopg.errors.lookup(getattr(error, "sqlstate", None) or "")
        except KeyError:
            known = psycopg.DatabaseError
        raise known(message) from error


def _described(
    connection: psycopg.Connection,
    query: str,
    ordered_by: Sequence[str],
    then_by: Sequence[str],
) -> tuple[str, pa.Schema]:
    """The query with the casts and the order that are wanted, and the schema of its rows."""
    found = connection.execute(f"SELECT * FROM (\n{query}\n) AS given LIMIT 0").description or ()
    columns = [f"column_{number}" for number in range(len(found))]
    described = [
        (column, one) for column, one in zip(columns, found, strict=True) if one.name not in then_by
    ]
    schema = pa.schema([(one.name, pg_type_code_to_arrow(one.type_code)) for _, one in described])
    casts = [_cast(connection, one.type_code) for _, one in described]
    if not (ordered_by or any(casts)):
        return query, schema
    selected = ", ".join(
        f"{column}{cast} AS {quoted(one.name)}"
        for (column, one), cast in zip(described, casts, strict=True)
    )
    text = f"SELECT {selected} FROM (\n{query}\n) AS given ({', '.join(columns)})"
    if ordered_by:
        places = {one.name: column for column, one in zip(columns, found, strict=True)}
        order = [f'{places[name]}::text COLLATE "C"' for name in ordered_by]
        text += " ORDER BY " + ", ".join([*order, *(places[name] for name in then_by)])
    return text, schema


def _cast(connection: psycopg.Connection, type_code: int) -> str:
    kind = connection.adapters.types.get(type_code)
    if kind is None or kind.name not in _CASTS:
        return ""
    return f"::{_CASTS[kind.name]}{'[]' if type_code == kind.array_oid else ''}"
