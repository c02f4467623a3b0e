"""Everyone of a month scored by the executors of Spark, and stored here chunk by chunk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.errors import FeatureStoreUnavailable
from streamflow.features import month_rows
from streamflow.features.engines.spark_errors import spark_errors
from streamflow.features.engines.spark_history import SparkHistory
from streamflow.features.feature_join import FeatureJoin
from streamflow.lineage.code import source_files
from streamflow.postgres.database import Database
from streamflow.postgres.record_batches import record_batch_reader
from streamflow.progress import Progress, silent
from streamflow.scores import executors
from streamflow.scores.chunks import in_threads, store
from streamflow.scores.scorer import Scorer
from streamflow.training import served_model
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    import pyarrow as pa

# What is imported in an executor.
_PACKAGES = ("streamflow", "feast_spark")
_ROWS_PER_PARTITION = 250_000


@dataclass(frozen=True)
class Month:
    """Whom to score: everyone with a row at `as_of`, as known at `known_at` (UTC)."""

    use_case: UseCase
    as_of: date
    known_at: datetime
    join: FeatureJoin


def score_month(
    database: Database,
    history: SparkHistory,
    month: Month,
    scorer: Scorer,
    files: Path,
    cores: int,
    progress: Progress = silent,
) -> int:
    """Score and store all of the month who aren't stored yet; returns how many rows there are.

    `files` is the folder of the served form, which goes to the executors with our code. They score
    as `Scorer.scored` does here, and all have scored before the first row is stored; memory here
    doesn't grow with their number. Raises FeatureStoreUnavailable, AsOfRefused.
    """
    stored = _stored(database, scorer.unfinished_id)
    frame, rows = month_rows.month_frame(
        history, month.use_case, month.as_of, month.known_at, month.join, stored
    )
    if rows:
        remote = _shipped(history, month, scorer, files)
        with spark_errors(history.remote, "Scoring"), _said_by_executors():
            scored = frame.mapInArrow(remote.scored, executors.SCORED)
            # An exchange: without it, only those partitions would be scored that are read next.
            scored = scored.repartition(1 + rows // _ROWS_PER_PARTITION)
            in_threads(partial(store, database), _batches(scored), cores, progress)
    return int(stored.num_rows) + rows


def _stored(database: Database, unfinished_id: int) -> pa.Table:
    """The entities that have been scored already."""
    import pyarrow as pa

    with record_batch_reader(database) as read:
        query = database.render("stored_entities", unfinished_id=unfinished_id)
        return pa.Table.from_batches(read(query))


def _shipped(
    history: SparkHistory, month: Month, scorer: Scorer, files: Path
) -> executors.RemoteScorer:
    """What the executors need, after the files were sent to them."""
    ours = {
        f"{package}/{name}": path
        for package in _PACKAGES
        for name, path in source_files(package).items()
        if name.endswith(".py")
    }
    form = {path.name: path for path in files.iterdir() if path.is_file()}
    code = executors.pack(ours, history.shipped, "streamflow")
    model = executors.pack(form, history.shipped, "model")
    history.ship([code], code=True)
    history.ship([model])
    return executors.RemoteScorer(
        model.name,
        served_model.digest(files),
        executors.versions_of(files),
        scorer.served.version,
        month.join.schema,
        scorer.clock,
        scorer.stale_features,
        scorer.unfinished_id,
    )


@contextmanager
def _said_by_executors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        found = re.search(re.escape(executors.CANNOT) + ".*", str(error))
        if found is None:
            raise
        raise FeatureStoreUnavailable(
            f"{found[0]}.",
            "Install requirements-spark.lock where the executors run: scores are the same to the "
            "last bit by the same versions. Or use STREAMFLOW_ENGINE=duckdb.",
        ) from error


def _batches(scored: object) -> Iterator[pa.RecordBatch]:
    from feast_spark.record_batches import packed_batches

    return packed_batches(scored)
