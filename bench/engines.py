"""Claims: on the engine *duckdb*, a training set from command to matrix takes at most 1.5 times
the bare DuckDB query, on *postgres* at most twice the plain SQL; both are 5 times as fast as
Feast's own store. `train --sample` and `score` stay within the memory that is set, and take per
user at the largest size at most 1.3 times what they take at the smallest. On *spark*, `score`
takes at most 1.5 times the same join and `mapInArrow` written by hand.

Each measurement is a process of its own, whose seconds (without imports) and largest memory are
written to `bench/results/engines.jsonl` at once, so that a long run may be cut. Contestants take
turns. USERS=100000,1000000 MONTHS=2 ROUNDS=3 SAMPLE=100000 ENGINES=duckdb,postgres by default;
the newest version scores, or VERSION. With HISTORY=iceberg, history is in Apache Iceberg beside the
home, which DuckDB reads without a copy. With ENGINES=duckdb,spark, Spark is that of
STREAMFLOW_SPARK_REMOTE, local-cluster[2,1,2048] by default: a driver and two workers, which start
with each step. A peer that takes longer than PEER_SECONDS (600) isn't tried with more users.
`python -m bench.engines docs` writes the figures into docs/engines.md.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from bench import engine_figures, machine, peak_mebibytes, temporary_folder
from bench.engine_figures import Record
from bench.point_in_time import PEER_SECONDS, TABLES, by_feast, by_hand, limited
from streamflow.bootstrap import platform
from streamflow.features import point_in_time
from streamflow.history.parquet.history_files import history_files
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.train import train
from streamflow.platform import Platform
from streamflow.scores.everyone import score
from streamflow.settings import load_settings
from streamflow.training.served_model import encode
from streamflow.training.split import Choice
from streamflow.training.values_seen import with_values_seen
from streamflow.use_case import Generation

MOST_IN_A_MATRIX = 1_000_000
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SAMPLE = int(os.environ.get("SAMPLE", "100000"))
NUMBER_OF_MONTHS = int(os.environ.get("MONTHS", "2"))
ICEBERG = os.environ.get("HISTORY", "postgres") == "iceberg"
ENGINES = ["iceberg"] if ICEBERG else os.environ.get("ENGINES", "duckdb,postgres").split(",")
MONTHS = [
    date(2024 + at // 12, at % 12 + 1, monthrange(2024 + at // 12, at % 12 + 1)[1])
    for at in range(NUMBER_OF_MONTHS)
]
# As in bench/point_in_time.py.
JOINED = MONTHS[:2]


def bare_query(files: Mapping[str, Sequence[str]]) -> str:
    """The join of the months by hand: of each table, the newest row that was known."""

    def rows(history: str) -> str:
        return f"(SELECT * FROM read_parquet({list(files[history])}) WHERE recorded_at <= now())"

    months = ", ".join(f"DATE '{as_of}'" for as_of in JOINED)
    columns = ", ".join(f"{table}.{name}" for table, names in TABLES.items() for name in names)
    joins = "\n".join(
        f"""ASOF LEFT JOIN {rows(f"{table}_history")} AS {table}
            ON {table}.user_id = users.user_id AND {table}.event_timestamp <= users.event_timestamp
        """
        for table in TABLES
    )
    return f"""SELECT users.user_id, users.as_of, labels.churn_label, {columns}
        FROM {rows("users_history")} AS users
        JOIN {rows("labels_history")} AS labels USING (user_id, as_of)
        {joins}
        WHERE users.as_of IN ({months})"""


def matrix(ready: Platform, users: int) -> None:
    """What `streamflow train` does before it fits."""
    made = point_in_time.assemble(ready.history, ready.use_case, JOINED, datetime.now(UTC))
    training_set = made.training_set
    assert len(encode(with_values_seen(training_set), training_set.columns)) > users


def bare(ready: Platform, users: int) -> None:
    """The bare query over the copy's files, to Arrow."""
    import duckdb

    copied = history_files(ready.database, ready.use_case.name, ready.settings.home)
    query = bare_query({name: view.files for name, view in copied.tables.items()})
    with duckdb.connect(config={"memory_limit": ready.settings.engine_memory}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        assert connection.sql(query).to_arrow_table().num_rows > users


def copy(ready: Platform, users: int) -> None:
    """The copy of history in Parquet, where it isn't there yet."""
    history_files(ready.database, ready.use_case.name, ready.settings.home)


def plain(ready: Platform, users: int) -> None:
    """The same join by hand in PostgreSQL, to Arrow."""
    by_hand(ready, users)


def feast(ready: Platform, users: int) -> None:
    """Feast's own PostgreSQL store, to Arrow."""
    if not limited(ready, PEER_SECONDS, lambda: by_feast(ready, users)):
        raise TimeoutError(f"not within {PEER_SECONDS} s")


def trained(ready: Platform, users: int) -> None:
    """`streamflow train --sample`."""
    now = datetime.now(UTC)
    choice = Choice(months=len(JOINED), sample=min(SAMPLE, users))
    train(ready, JOINED[-1], None, 42, now, choice=choice)


def scored(ready: Platform, users: int) -> None:
    """`streamflow score`, of everyone of the newest month."""
    now = datetime.now(UTC)
    newest = max(one.version for one in ready.registry.versions())
    version = int(os.environ.get("VERSION", newest))
    # Another moment of knowing is another scoring.
    done = score(ready, MONTHS[-1], "bench", now, known_at=now, version=version)
    assert done.added
    assert done.scoring.entities > 0.9 * users


def by_hand_on_spark(ready: Platform, users: int) -> None:
    """The same join and `mapInArrow` by hand, with the newest version."""
    from bench.spark_by_hand import score_by_hand

    assert score_by_hand(ready, MONTHS[-1]) > 0.9 * users


STEPS: dict[str, Callable[[Platform, int], None]] = {
    "copy": copy,
    "matrix": matrix,
    "bare query": bare,
    "plain SQL": plain,
    "Feast": feast,
    "train": trained,
    "score": scored,
    "by hand": by_hand_on_spark,
}


def one_step(name: str, users: int) -> None:
    """In a process of its own: do the step, print its seconds and megabytes."""
    for module in ("feast", "feast.infra.registry.sql", "pyarrow.compute", "pyarrow.parquet"):
        importlib.import_module(module)  # imports aren't measured
    remote = os.environ.get("STREAMFLOW_SPARK_REMOTE")
    if load_settings().engine == "spark":
        # Nor is the start of Spark, which `score` and its peer have alike.
        from feast_spark.session import spark_session

        spark_session(remote).range(1).count()
    with platform(load_settings()) as ready:
        ready.use_case.tables()  # imports what contracts need
        started = time.perf_counter()
        STEPS[name](ready, users)
        seconds = time.perf_counter() - started
    megabytes = peak_mebibytes()
    print(json.dumps({"seconds": seconds, "megabytes": megabytes}))


def measured(home: Path, users: int, name: str, engine: str) -> Record | None:
    """The record of a step, which is written at once; None if it didn't come to its end."""
    reader = "duckdb" if engine == "iceberg" else engine
    environment = {**os.environ, **_environment(home), "STREAMFLOW_ENGINE": reader}
    command = [sys.executable, "-m", "bench.engines", "step", name, str(users)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    told = f"{name} on {SAMPLE:,}" if name == "train" and SAMPLE != 100_000 else name
    facts = {"users": users, "months": NUMBER_OF_MONTHS, "step": told, "engine": engine}
    record = {**facts, "machine": machine(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["killed"])[-1]
        record["failed"] = said if done.returncode > 0 else signal.Signals(-done.returncode).name
    else:
        record |= json.loads(done.stdout.splitlines()[-1])
    engine_figures.add(record)
    found = record.get("failed") or f"{record['seconds']:.2f} s, {record['megabytes']:,.0f} MB"
    print(f"{users:>11,}  {name:<11} {engine:<9} {found}", flush=True)
    return None if "failed" in record else record


def _environment(home: Path) -> dict[str, str]:
    remote = os.environ.get("STREAMFLOW_SPARK_REMOTE", "local-cluster[2,1,2048]")
    return {
        "STREAMFLOW_HOME": str(home),
        "STREAMFLOW_HISTORY": f"file://{home}/history" if ICEBERG else "postgres",
        "STREAMFLOW_USE_CASE": "churn",
        "STREAMFLOW_SPARK_REMOTE": remote,
        "PYSPARK_PYTHON": sys.executable,
    }


def size(folder: Path, users: int, with_feast: bool) -> bool:
    """Measure all with so many users; whether Feast's own store came to its end."""
    home = folder / f"home-{users}"
    os.environ |= _environment(home)
    # The database is up while the block runs.
    with platform(load_settings(engine="duckdb" if ICEBERG else "postgres")) as ready:
        assert ready.use_case.generate is not None
        ready.use_case.generate(Generation(home / "data", users, len(MONTHS), 42))
        for number, as_of in enumerate(MONTHS):
            month = home / "data" / f"month_{number:03}"
            ingest(ready, month, as_of, None, datetime.now(UTC), "bench", really=True)
            shutil.rmtree(month)
        apply(ready)
        if {"duckdb", "spark"} & {*ENGINES}:
            measured(home, users, "copy", "duckdb")
        for _ in range(ROUNDS):
            for engine in ENGINES:
                # All rows of ten million users of two months don't fit where a sample does.
                if users > MOST_IN_A_MATRIX:
                    continue
                measured(home, users, "matrix", engine)
                peer = {"duckdb": "bare query", "postgres": "plain SQL"}.get(engine)
                if peer is not None:
                    measured(home, users, peer, engine)
        for engine in ENGINES:
            measured(home, users, "train", engine)
        for _ in range(ROUNDS):
            for engine in ENGINES:
                measured(home, users, "score", engine)
                if engine == "spark":
                    measured(home, users, "by hand", engine)
        ended = with_feast and measured(home, users, "Feast", "postgres") is not None
    shutil.rmtree(home)
    return ended


def main() -> None:
    """Measure; or, as it is asked, one step alone, or the figures into the document."""
    if sys.argv[1:2] == ["step"]:
        one_step(sys.argv[2], int(sys.argv[3]))
        return
    if sys.argv[1:2] == ["docs"]:
        engine_figures.into_document()
        return
    numbers = [int(one) for one in os.environ.get("USERS", "100000,1000000").split(",")]
    print(f"{machine()}\n")
    with temporary_folder() as folder:
        with_feast = "postgres" in ENGINES
        for users in numbers:
            with_feast = size(folder, users, with_feast)
    print(f"\n{engine_figures.figures()}")


if __name__ == "__main__":
    sys.exit(main())
