"""Claim: scoring and storing everyone takes at most 1.5 times as long as the model call alone, on
the same number of cores; memory doesn't grow with their number.

Peer: the served form over the same rows, which are in memory already, in chunks on all cores; its
scores are thrown away. A forest of 300 trees and LightGBM, each learned from 20,000 users. Ours
reads the features from history by the point-in-time join, checks them, scores, stores, ranks.
USERS="100000 1000000" ENGINES="postgres duckdb" by default, ROUNDS=1: the engine reads history, of
which duckdb has a copy in Parquet before anything is measured. Each result is written as it comes.
Each scoring is in a process of its own, whose peak memory is reported; the database's isn't.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench import RESULTS, machine, peak_mebibytes, temporary_folder
from bench.peers.bars import at_most, show
from streamflow.bootstrap import platform
from streamflow.features import month_rows
from streamflow.history.parquet.history_files import history_files
from streamflow.lineage import judged_version
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.train import train
from streamflow.platform import Platform
from streamflow.scores.chunks import CHUNK_ROWS, chunks
from streamflow.scores.everyone import score
from streamflow.settings import load_settings
from streamflow.training import dataset_table
from streamflow.use_case import Generation

CLAIM = "score: everyone scored and stored in at most 1.5 times the model call alone"
LEARNED, SCORED = date(2024, 1, 31), (date(2024, 2, 29), date(2024, 3, 31))
MODELS = ("forest_300", "lightgbm")
ENGINES = os.environ.get("ENGINES", "postgres duckdb").split()
OURS, PEER = "score", "the model call alone"


def main() -> None:
    """Measure, print and write the results."""
    sizes = [int(size) for size in os.environ.get("USERS", "100000 1000000").split()]
    if len(sizes) > len(SCORED):
        raise SystemExit(f"USERS has at most {len(SCORED)} sizes.")
    rounds = int(os.environ.get("ROUNDS", "1"))
    print(f"{CLAIM}\n{machine()}\n")
    with temporary_folder() as folder:
        home = folder / "home"
        versions = prepare(home, sizes)
        measured: list[dict[str, Any]] = []
        for users, as_of in zip(sizes, SCORED, strict=False):
            for engine, (name, version) in product(ENGINES, versions.items()):
                measured.append(compare(home, engine, name, version, users, as_of, rounds))
                write(measured)
    show(bars(measured))


def write(measured: list[dict[str, Any]]) -> None:
    """What was measured so far."""
    RESULTS.mkdir(exist_ok=True)
    result = {
        "claim": CLAIM,
        "machine": machine(),
        "measured": measured,
        "bars": bars(measured),
    }
    (RESULTS / "score.json").write_text(json.dumps(result, indent=2) + "\n")


def bars(measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the most users measured: the seconds beside the peer's, the memory beside the fewest's."""
    sizes = [one["users"] for one in measured]
    largest = [one for one in measured if one["users"] == max(sizes)]
    smallest = {of(one): one["mebibytes"] for one in measured if one["users"] == min(sizes)}
    return [
        *(at_most(1.5, f"times {PEER}, {of(one)}", one["ratio"]) for one in largest),
        *(
            at_most(
                1.25,
                f"times the memory of {min(sizes):,} users, {of(one)}",
                one["mebibytes"] / smallest[of(one)],
            )
            for one in largest
        ),
    ]


def of(measured: dict[str, Any]) -> str:
    """What was measured."""
    return f"{measured['model']}, {measured['engine']}"


def forest_300(random_state: int) -> Any:
    """The use case's forest with 300 trees."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        n_estimators=300, min_samples_leaf=15, random_state=random_state, n_jobs=1
    )


def prepare(home: Path, sizes: list[int]) -> dict[str, int]:
    """Months in history, one per size, and the versions that score them."""
    with opened(home, "postgres") as made:
        use_case = made.use_case
        models = {**use_case.models, "forest_300": forest_300}
        ready = replace(made, use_case=replace(use_case, models=models))
        assert use_case.generate is not None
        for users, as_of in zip([20_000, *sizes], [LEARNED, *SCORED], strict=False):
            use_case.generate(Generation(home / f"{as_of}", users, 1, as_of.month))
            folder = home / f"{as_of}" / "month_000"
            ingest(ready, folder, as_of, None, datetime.now(UTC), "bench")
        apply(ready)
        if "duckdb" in ENGINES:
            history_files(ready.database, use_case.name, home)
        return {name: train(ready, LEARNED, name, 42, datetime.now(UTC)).version for name in MODELS}


def compare(
    home: Path, engine: str, name: str, version: int, users: int, as_of: date, rounds: int
) -> dict[str, Any]:
    """Both in turn, each time in a new process."""
    seconds: dict[str, list[float]] = {OURS: [], PEER: []}
    mebibytes: list[float] = []
    for _ in range(rounds):
        for contestant, run in ((OURS, scored), (PEER, model_call)):
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                took, memory = process.submit(run, home, engine, version, users, as_of).result()
            seconds[contestant].append(took)
            if contestant == OURS:
                mebibytes.append(memory)
    medians = {contestant: statistics.median(runs) for contestant, runs in seconds.items()}
    ratio = medians[OURS] / medians[PEER]
    memory = statistics.median(mebibytes)
    print(
        f"{name:<12} {engine:<9} {users:>9,} users  {medians[OURS]:7.2f} s  "
        f"alone {medians[PEER]:7.2f} s  {ratio:5.2f} times  {memory:6.0f} MiB",
        flush=True,
    )
    return {
        "model": name,
        "engine": engine,
        "users": users,
        "seconds": seconds,
        "ratio": ratio,
        "mebibytes": memory,
    }


def opened(home: Path, engine: str) -> AbstractContextManager[Platform]:
    """The platform with that engine."""
    return platform(load_settings(home=home, database_url=None, use_case="churn", engine=engine))


def scored(home: Path, engine: str, version: int, users: int, as_of: date) -> tuple[float, float]:
    """Seconds of a scoring, as known now, so that it is a new one; and MiB at most."""
    with opened(home, engine) as ready:
        _import_feast(ready)
        now = datetime.now(UTC)
        started = time.perf_counter()
        made = score(ready, as_of, "bench", now, known_at=now, version=version)
        took = time.perf_counter() - started
    if made.scoring.entities != users:
        raise SystemExit(f"{made.scoring.entities} of {users} users have a score.")
    return took, peak_mebibytes()


def model_call(
    home: Path, engine: str, version: int, users: int, as_of: date
) -> tuple[float, float]:
    """Seconds of the served form alone, on all cores, over rows in memory."""
    with opened(home, engine) as ready:
        found = ready.version(version)
        model = judged_version.model_of(ready, found)
        now = datetime.now(UTC)
        join = judged_version.join_of(ready, found, model, now)
        rows = month_rows.month_rows(ready.history, ready.use_case, as_of, now, join)
        parts = [_columns(model.schema.features, chunk) for chunk in chunks(rows, CHUNK_ROWS)]
    cores = len(os.sched_getaffinity(0))
    started = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        total = sum(len(labels) for labels, _ in pool.map(model.predict, parts))
    took = time.perf_counter() - started
    if total != users:
        raise SystemExit(f"{total} of {users} users have a score.")
    return took, 0.0


def _columns(features: Any, chunk: Any) -> dict[str, Any]:
    import pyarrow as pa

    table = pa.Table.from_batches([chunk])
    return {one.name: dataset_table.values(table, one) for one in features}


def _import_feast(ready: Platform) -> None:
    """Its import takes seconds, whatever is scored."""
    ready.use_case.features()


if __name__ == "__main__":
    sys.exit(main())
