"""Rows of the online store as columns, whatever store they are in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from streamflow.serving.feature_status import MISSING, EntityRow
from streamflow.serving.online_store import OnlineStore, Plan
from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class OnlineColumns:
    """What the online store has for entities, in their order.

    `rows` has the id and the features by their names, null for a stored null; `times` has per
    feature view the event timestamp (microseconds, UTC), null where the entity has no row.
    `unwritten` has by their position the rows with a feature that was never written, as rows.
    """

    rows: pa.RecordBatch
    times: pa.RecordBatch
    unwritten: Mapping[int, EntityRow]

    def slices(self, rows: int) -> Iterator[OnlineColumns]:
        """The same in parts of at most so many rows."""
        for start in range(0, self.rows.num_rows, rows):
            yield OnlineColumns(
                self.rows.slice(start, rows),
                self.times.slice(start, rows),
                {
                    row - start: one
                    for row, one in self.unwritten.items()
                    if start <= row < start + rows
                },
            )


# Reads a row per id, in their order.
ReadColumns = Callable[[Sequence[str]], OnlineColumns]


@runtime_checkable
class ColumnStore(Protocol):
    """An online store that reads columns."""

    def column_reader(
        self, plan: Plan, schema: FeatureSchema
    ) -> AbstractContextManager[ReadColumns]:
        """While the block runs: a function that reads by the plan of the schema, for one thread.

        It raises FeatureStoreUnavailable, or UnservableModel if the store has changed since."""


@contextmanager
def column_reader(online: OnlineStore, plan: Plan, schema: FeatureSchema) -> Iterator[ReadColumns]:
    """`ColumnStore.column_reader` of any online store: of one that reads rows, they are made
    columns."""
    if isinstance(online, ColumnStore):
        with online.column_reader(plan, schema) as read:
            yield read
    else:
        yield lambda ids: _of_rows(schema, ids, online.read(plan, ids))


def columns_schema(schema: FeatureSchema) -> tuple[pa.Schema, pa.Schema]:
    """The types of `OnlineColumns.rows` and of its `times`."""
    import pyarrow as pa

    types = {
        "STRING": pa.string(),
        "INT64": pa.int64(),
        "FLOAT64": pa.float64(),
        "BOOL": pa.bool_(),
    }
    features = [(one.name, types[one.type]) for one in schema.features]
    return (
        pa.schema([(schema.join_key, pa.string()), *features]),
        pa.schema([(view, pa.timestamp("us", "UTC")) for view in schema.views]),
    )


def _of_rows(schema: FeatureSchema, ids: Sequence[str], rows: Sequence[EntityRow]) -> OnlineColumns:
    import pyarrow as pa

    of_rows, of_times = columns_schema(schema)
    unwritten = {number: row for number, row in enumerate(rows) if MISSING in row.values}
    values: list[Any] = [
        [None if row.values[place] is MISSING else row.values[place] for row in rows]
        for place in range(len(schema.features))
    ]
    times: list[Any] = [[row.times[place] for row in rows] for place in range(len(schema.views))]
    return OnlineColumns(
        pa.record_batch(
            [pa.array(one, kind) for one, kind in zip([ids, *values], of_rows.types, strict=True)],
            of_rows,
        ),
        pa.record_batch(
            [pa.array(one, kind) for one, kind in zip(times, of_times.types, strict=True)], of_times
        ),
        unwritten,
    )
