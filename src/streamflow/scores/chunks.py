"""Entities scored and stored chunk by chunk, on all cores: what is stored stays stored.

A chunk is scored in a thread (the models' libraries work without Python's lock) and stored by one
COPY. No score depends on the other rows of its chunk, nor on which thread has it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from streamflow.features.feature_join import time_of
from streamflow.postgres.database import MAX_CONNECTIONS, Database
from streamflow.progress import Progress, silent
from streamflow.scores.column_scoring import score_columns
from streamflow.serving.feature_status import Clock
from streamflow.serving.scoring import Served

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ROWS = 16_384


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


def chunks(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of the batches, at most so many at a time."""
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def score_chunks(
    database: Database,
    scorer: Scorer,
    batches: Iterable[pa.RecordBatch],
    cores: int,
    progress: Progress = silent,
) -> int:
    """Score and store all rows that aren't stored yet; returns how many rows there are.

    The batches are as `month_rows` makes them. Few chunks are in memory at a time.
    """
    before: int = database.row("count_unfinished_scores", unfinished_id=scorer.unfinished_id)[
        "entities"
    ]
    rows, done = 0, 0
    waiting: set[Future[int]] = set()
    threads = max(1, min(cores, MAX_CONNECTIONS - 1))
    with ThreadPoolExecutor(threads, "score") as pool:
        try:
            for chunk in chunks(batches, CHUNK_ROWS):
                rows += chunk.num_rows
                waiting.add(pool.submit(_score_chunk, database, scorer, chunk, bool(before)))
                while len(waiting) > threads + 1:
                    ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    done += sum(one.result() for one in ended)
                    progress(f"{done:,} entities")
            done += sum(one.result() for one in waiting)
        finally:
            pool.shutdown(cancel_futures=True)
    progress(f"{done:,} entities")
    return rows


def _score_chunk(
    database: Database, scorer: Scorer, chunk: pa.RecordBatch, some_are_stored: bool
) -> int:
    left = _not_stored(database, scorer, chunk) if some_are_stored else chunk
    if left.num_rows:
        database.copy("copy_unfinished_scores", _csv(scorer.scored(left)))
    return int(chunk.num_rows)


def _not_stored(database: Database, scorer: Scorer, chunk: pa.RecordBatch) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    entities = chunk.column(scorer.served.schema.join_key)
    found = database.rows(
        "scored_between",
        unfinished_id=scorer.unfinished_id,
        first=entities[0].as_py(),
        last=entities[-1].as_py(),
    )
    stored = pa.array([row["entity_id"] for row in found], entities.type)
    return chunk.filter(pc.invert(pc.is_in(entities, value_set=stored)))


def _csv(table: pa.Table) -> bytes:
    import pyarrow.csv

    content = io.BytesIO()
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    pyarrow.csv.write_csv(table, content, options)
    return content.getvalue()
