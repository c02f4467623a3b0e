"""Predictions without the API: for one entity, or for a file of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from streamflow.errors import StreamFlowError
from streamflow.pipeline import id_file, prediction_file
from streamflow.pipeline.prediction_file import Write
from streamflow.progress import Progress, silent
from streamflow.scores.chunks import CHUNK_ROWS
from streamflow.scores.column_scoring import score_columns
from streamflow.scores.everyone import cores
from streamflow.serving import responses

if TYPE_CHECKING:
    import pyarrow as pa

    from streamflow.serving.columns.online_columns import OnlineColumns
    from streamflow.serving.predictor import Predictor

_Item = TypeVar("_Item")


class NothingPredicted(StreamFlowError):
    """None of a file's ids has a prediction; each one's problem is in the results."""


def predict(predictor: Predictor, entity_id: str, now: datetime) -> Mapping[str, object]:
    """The JSON document of the API's `/predict` for the entity. Raises the same errors."""
    return responses.prediction(predictor.join_key, predictor.predict(entity_id, now))


def predict_file(
    predictor: Predictor,
    file: Path,
    write: Write,
    now: datetime,
    progress: Progress = silent,
    *,
    header: bool = True,
) -> Counter[str]:
    """Write a row per id of `file`: its prediction, or the code of the problem instead.

    The ids are in the column named like the join key, or one a line without a `header`. One model
    predicts all ids, as columns and on all cores, while the next ones are read; memory doesn't grow
    with their number. Returns the counts of `predicted` and of each problem. Raises MissingFiles,
    UnreadableFile, NoProductionModel, FeatureStoreUnavailable, UnservableModel.
    """
    served = predictor.production()
    clock = predictor.clock(served, now)
    version = served.version
    counts: Counter[str] = Counter()

    def scored(columns: OnlineColumns) -> tuple[pa.Table, Counter[str]]:
        found = score_columns(
            *(served, columns.rows, columns.times, clock, predictor.stale_features),
            columns.unwritten,
        )
        table = prediction_file.table(version, columns, found)
        return table, Counter(one.code for one in found.problems.values())

    def written(scoring: Future[tuple[pa.Table, Counter[str]]]) -> None:
        table, problems = scoring.result()
        write(table)
        counts.update({"predicted": table.num_rows - problems.total()} | problems)
        progress(f"{counts.total():,} ids")

    waiting: deque[Future[tuple[pa.Table, Counter[str]]]] = deque()
    threads = cores()
    with predictor.column_reader(served) as read, ThreadPoolExecutor(threads, "score") as pool:
        try:
            ids = id_file.chunks(file, predictor.join_key, header=header)
            for columns in _ahead(read(chunk) for chunk in ids):
                for part in columns.slices(CHUNK_ROWS):
                    waiting.append(pool.submit(scored, part))
                    while len(waiting) > 2 * threads:
                        written(waiting.popleft())
            while waiting:
                written(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)
    if not counts:  # a header at least; an unreadable file writes nothing
        write(prediction_file.no_rows(predictor.join_key))
    return +counts


def _ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The items, of which the next one is made in a thread while one is worked on."""
    with ThreadPoolExecutor(1, "read") as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
