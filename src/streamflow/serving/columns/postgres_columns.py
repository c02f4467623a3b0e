"""Columns out of our own online tables, by the statement that reads rows of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from feast_postgres.online_statement import Statement, changed_types
from streamflow.postgres.database import Database
from streamflow.postgres.record_batches import record_batch_reader
from streamflow.serving.columns.online_columns import OnlineColumns, ReadColumns, columns_schema
from streamflow.serving.feature_status import MISSING, EntityRow
from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    import pyarrow as pa


@contextmanager
def read_columns(
    database: Database, statement: Statement, schema: FeatureSchema
) -> Iterator[ReadColumns]:
    """While the block runs: a function that reads by the statement, over a connection of its own.

    Raises NotReadable for columns of other types, DatabaseUnavailable.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    of_rows, of_times = columns_schema(schema)
    with record_batch_reader(database) as read:

        def columns(ids: Sequence[str]) -> OnlineColumns:
            empty, *batches = read(statement.with_keys(ids))
            found = pa.Table.from_batches(batches, empty.schema).combine_chunks()
            # Its name isn't the position's alone, if a feature is named so too.
            found = found.take(pc.sort_indices(found.column(0)))
            values, times = statement.values(found.columns), statement.times(found.columns)
            if [one.type for one in (*values, *times)] != [*of_rows.types[1:], *of_times.types]:
                raise changed_types()
            rows = pa.table([pa.array(ids, pa.string()), *values], schema=of_rows)
            return OnlineColumns(
                _batch(rows),
                _batch(pa.table([*times], schema=of_times)),
                _unwritten(statement, rows, times, statement.unwritten(found.columns)),
            )

        yield columns


def _batch(table: pa.Table) -> pa.RecordBatch:
    import pyarrow as pa

    columns = [one.combine_chunks() for one in table.columns]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def _unwritten(
    statement: Statement,
    rows: pa.Table,
    times: Sequence[pa.ChunkedArray],
    unwritten: Sequence[pa.ChunkedArray],
) -> Mapping[int, EntityRow]:
    """The rows in which a view lacks columns that are read."""
    import pyarrow.compute as pc

    lacking: dict[int, dict[int, set[str]]] = {}
    for view, column in enumerate(unwritten):
        read = {name for number, name in statement.columns if number == view}
        if column.null_count == len(column):
            continue
        for row in pc.indices_nonzero(column.is_valid()).to_pylist():
            if names := read.intersection(column[row].as_py()):
                lacking.setdefault(row, {})[view] = names
    found = {}
    for row, of_views in lacking.items():
        values = [column[row].as_py() for column in rows.columns[1:]]
        for place, (view, name) in enumerate(statement.columns):
            if name in of_views.get(view, ()):
                values[place] = MISSING
        found[row] = EntityRow(tuple(time[row].as_py() for time in times), tuple(values))
    return found
