"""The rows of queries as Arrow record batches, in which no value becomes a Python object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streamflow.errors import DatabaseUnavailable
from streamflow.postgres.database import Database

if TYPE_CHECKING:
    import pyarrow as pa


@contextmanager
def record_batch_reader(database: Database) -> Iterator[Callable[[str], Iterator[pa.RecordBatch]]]:
    """While the block runs: a function that reads a query with its values in it, over a connection
    of its own, which takes 0.1 s to open; one query at a time.

    The first batch has no rows, and tells the schema. Memory doesn't grow with the number of rows.
    Times are in UTC. Raises DatabaseUnavailable if the server is lost or refuses a query.
    """
    import pyarrow as pa
    from adbc_driver_postgresql import dbapi

    database.execute("nothing")  # whose errors say why the server can't be reached
    try:
        with dbapi.connect(database.url, autocommit=True) as connection:

            def read(query: str) -> Iterator[pa.RecordBatch]:
                try:
                    with connection.cursor() as cursor:
                        cursor.execute(query)
                        reader = cursor.fetch_record_batch()
                        yield pa.RecordBatch.from_pylist([], reader.schema)
                        yield from reader
                # Errors under way come through Arrow, as an OSError.
                except (dbapi.Error, OSError) as error:
                    raise _unavailable(error) from error

            yield read
    except dbapi.Error as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> DatabaseUnavailable:
    said = " ".join(str(error).partition("\n\nQuery was:")[0].split())
    return DatabaseUnavailable(f"PostgreSQL can't be read: {said}", "Try again in a moment.")
