"""Rows of everyone to their scores, in this process or in an executor of Spark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from streamflow.features.engines.row_columns import time_of
from streamflow.scores.column_scoring import score_columns
from streamflow.serving.feature_status import Clock
from streamflow.serving.scoring import Served

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Scorer:
    """How rows are scored, and the number of the unfinished scoring that they are stored in."""

    served: Served
    clock: Clock
    stale_features: Literal["refuse", "warn"]
    unfinished_id: int

    def scored(self, rows: pa.RecordBatch) -> pa.Table:
        """The scores of the rows: entity, probability and label, or the code of the problem."""
        import pyarrow as pa

        views = self.served.schema.views
        times = pa.RecordBatch.from_arrays([rows.column(time_of(one)) for one in views], [*views])
        found = score_columns(self.served, rows, times, self.clock, self.stale_features)
        problems = found.problems
        codes = [None] * rows.num_rows
        for row, problem in problems.items():
            codes[row] = problem.code  # type: ignore[call-overload]
        without = pa.array([code is not None for code in codes], pa.bool_())
        nothing = pa.nulls(rows.num_rows)
        return pa.table(
            {
                "unfinished_id": pa.array([self.unfinished_id] * rows.num_rows, pa.int64()),
                "entity_id": rows.column(self.served.schema.join_key),
                "probability": _unless(without, nothing, found.probabilities, pa.float64()),
                "label": _unless(without, nothing, found.labels, pa.int64()),
                "problem": pa.array(codes, pa.string()),
            }
        )


def _unless(without: pa.Array, nothing: pa.Array, values: object, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(without, nothing.cast(kind), pa.array(values, kind))
