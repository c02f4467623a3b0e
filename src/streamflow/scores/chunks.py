"""Entities scored and stored chunk by chunk, on all cores: what is stored stays stored.

A chunk is scored in a thread (the models' libraries work without Python's lock) and stored by one
COPY. No score depends on the other rows of its chunk, nor on which thread has it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING

from streamflow.postgres.database import MAX_CONNECTIONS, Database
from streamflow.progress import Progress, silent
from streamflow.scores.scorer import Scorer

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ROWS = 16_384


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
    score = partial(_score_chunk, database, scorer, some_are_stored=bool(before))
    return in_threads(score, chunks(batches, CHUNK_ROWS), cores, progress)


def in_threads(
    work: Callable[[pa.RecordBatch], int],
    chunks: Iterable[pa.RecordBatch],
    cores: int,
    progress: Progress = silent,
) -> int:
    """Do the work, which returns the number of rows, for each chunk; returns the rows of all.

    Each thread may have a connection to the database.
    """
    rows, done = 0, 0
    waiting: set[Future[int]] = set()
    threads = max(1, min(cores, MAX_CONNECTIONS - 1))
    with ThreadPoolExecutor(threads, "score") as pool:
        try:
            for chunk in chunks:
                rows += chunk.num_rows
                waiting.add(pool.submit(work, chunk))
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
    database: Database, scorer: Scorer, chunk: pa.RecordBatch, *, some_are_stored: bool
) -> int:
    left = _not_stored(database, scorer, chunk) if some_are_stored else chunk
    if left.num_rows:
        store(database, scorer.scored(left))
    return int(chunk.num_rows)


def store(database: Database, scored: pa.Table | pa.RecordBatch) -> int:
    """Store rows as `Scorer.scored` makes them; returns how many."""
    import pyarrow.csv

    content = io.BytesIO()
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    pyarrow.csv.write_csv(scored, content, options)
    database.copy("copy_unfinished_scores", content.getvalue())
    return int(scored.num_rows)


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
