"""Claim: `predict --file` takes at most 2 times as long as the model call alone on the same number
of cores with a forest of 300 trees, predicts at least 20 times as many ids a second as the plain
way, and its memory doesn't grow with the file.

Peers: the served form over the same rows, which are in memory already, in chunks on all cores; and
the plain way, Feast's `get_online_features` on Feast's own PostgreSQL store with `mlflow.pyfunc`,
10,000 ids at a time, which gets 20,000 of the ids. A forest of 300 trees and LightGBM, each learned
from 20,000 of USERS=100000; the file has IDS=400000 ids, in any order. ROUNDS=1. Each run of ours
is in a process of its own, with all its reading, checking and writing of a CSV file.
"""

from __future__ import annotations

import csv
import json
import os
import random
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench import RESULTS, machine, peak_mebibytes, temporary_folder
from bench.peers import stores
from bench.peers.bars import at_least, at_most, show
from bench.peers.workplace import MONTH, Workplace
from bench.score import forest_300
from streamflow import bootstrap
from streamflow.bootstrap import platform
from streamflow.pipeline import prediction_file
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.pipeline.predict import predict_file
from streamflow.pipeline.train import train
from streamflow.platform import Platform
from streamflow.scores.chunks import CHUNK_ROWS
from streamflow.serving.configured_online_store import configured_online_store
from streamflow.serving.predictor import Predictor
from streamflow.serving.scoring import Served
from streamflow.settings import load_settings
from streamflow.training import dataset_table, served_model
from streamflow.training.split import Choice
from streamflow.use_case import Generation

CLAIM = "predict --file: the model call alone, and the plain way, on the same ids"
MODELS = ("forest_300", "lightgbm")
LEARNED, PLAIN_IDS, PLAIN_BATCH = 20_000, 20_000, 10_000
OURS, ALONE, PLAIN = "predict --file", "the model call alone", "the plain way"


def main() -> None:
    """Measure, print and write the results."""
    users, ids = (int(os.environ.get(*one)) for one in (("USERS", "100000"), ("IDS", "400000")))
    rounds = int(os.environ.get("ROUNDS", "1"))
    print(f"{CLAIM}\n{machine()}\n")
    with temporary_folder() as folder:
        versions, known = prepare(folder, users)
        dice = random.Random(42)
        asked = [dice.choice(known) for _ in range(ids)]
        write_ids(folder / "ids.csv", asked)
        write_ids(folder / "fewer.csv", asked[: ids // 4])
        plain = len(asked[:PLAIN_IDS]) / plain_seconds(folder, known, asked[:PLAIN_IDS])
        print(f"{PLAIN}: {plain:,.0f} ids a second", flush=True)
        measured = [
            compare(folder, name, version, ids, plain, rounds) for name, version in versions.items()
        ]
    of_forest = measured[0]
    bars = [
        at_most(2.0, f"times {ALONE}, {of_forest['model']}", of_forest["ratio"]),
        *(at_least(20, f"times {PLAIN}, {one['model']}", one["times_plain"]) for one in measured),
        *(
            at_most(1.25, f"times the memory of a quarter, {one['model']}", one["memory_ratio"])
            for one in measured
        ),
    ]
    result = {"claim": CLAIM, "machine": machine(), "users": users, "measured": measured}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**result, "plain_ids_per_second": plain, "bars": bars}, indent=2)
    (RESULTS / "predict_file.json").write_text(text + "\n")
    show(bars)


def prepare(folder: Path, users: int) -> tuple[dict[str, int], list[str]]:
    """A month online, the versions that score it, and its ids."""
    with platform(settings(folder)) as opened:
        ready = with_forest(opened)
        assert ready.use_case.generate is not None
        ready.use_case.generate(Generation(folder / "data", users, 1, 1))
        month = folder / "data" / "month_000"
        ingest(ready, month, MONTH, None, datetime.now(UTC), "bench")
        apply(ready)
        materialize(ready, MONTH, datetime.now(UTC))
        versions = {
            name: train(
                ready, MONTH, name, 42, datetime.now(UTC), choice=Choice(sample=LEARNED)
            ).version
            for name in MODELS
        }
    with (month / "users.csv").open(encoding="utf-8", newline="") as lines:
        return versions, [row["user_id"] for row in csv.DictReader(lines)]


def settings(folder: Path) -> Any:
    """Those of the benchmark's home."""
    return load_settings(home=folder / "home", database_url=None, use_case="churn")


def with_forest(opened: Platform) -> Platform:
    """The platform, with the forest of 300 trees as the use case's own model."""
    models = {**opened.use_case.models, "forest_300": forest_300}
    use_case = replace(opened.use_case, models=models, default_model="forest_300")
    return replace(opened, use_case=use_case)


def write_ids(file: Path, ids: list[str]) -> None:
    """A CSV file of the ids."""
    file.write_text("\n".join(["user_id", *ids, ""]), encoding="utf-8")


def plain_seconds(folder: Path, known: list[str], asked: list[str]) -> float:
    """Seconds of the plain way for the ids, after it has answered a few."""
    import mlflow
    from feast import FeatureStore

    with platform(settings(folder)) as opened:
        ready = with_forest(opened)
        place = Workplace(folder, ready.database.url, ready.use_case, known[:LEARNED])
        feast = stores.feast_folder(place, "plain", stores.postgres_store(place))
        model = mlflow.pyfunc.load_model(
            stores.plain_model(place, stores.features_of(place, feast))
        )
        names = [column.name for column in model.metadata.get_input_schema()]
        store = FeatureStore(repo_path=str(feast))
        service = store.get_feature_service(ready.use_case.feature_service)

        def answered(ids: list[str]) -> int:
            rows = [{"user_id": one} for one in ids]
            features = store.get_online_features(features=service, entity_rows=rows).to_df()
            return len(model.predict(features[names])[:, 1])

        answered(asked[:100])
        started = time.perf_counter()
        starts = range(0, len(asked), PLAIN_BATCH)
        total = sum(answered(asked[start : start + PLAIN_BATCH]) for start in starts)
        assert total == len(asked)
        return time.perf_counter() - started


def compare(
    folder: Path, name: str, version: int, ids: int, plain: float, rounds: int
) -> dict[str, Any]:
    """Ours and the model call alone in turn, each time in a new process."""
    seconds: dict[str, list[float]] = {OURS: [], ALONE: []}
    mebibytes: dict[str, list[float]] = {"fewer.csv": [], "ids.csv": []}
    for _ in range(rounds):
        for file in mebibytes:
            took, memory = apart(predicted, folder, version, file)
            mebibytes[file].append(memory)
        seconds[OURS].append(took)
        seconds[ALONE].append(apart(model_call, folder, version, "ids.csv")[0])
    medians = {contestant: statistics.median(runs) for contestant, runs in seconds.items()}
    memory = {file: statistics.median(runs) for file, runs in mebibytes.items()}
    rate = ids / medians[OURS]
    print(
        f"{name:<12} {ids:>9,} ids  {medians[OURS]:7.2f} s  alone {medians[ALONE]:7.2f} s  "
        f"{rate:10,.0f} ids a second  {memory['ids.csv']:6.0f} MiB",
        flush=True,
    )
    return {
        "model": name,
        "ids": ids,
        "seconds": seconds,
        "ratio": medians[OURS] / medians[ALONE],
        "times_plain": rate / plain,
        "mebibytes": memory,
        "memory_ratio": memory["ids.csv"] / memory["fewer.csv"],
    }


def apart(run: Any, *arguments: Any) -> tuple[float, float]:
    """What the function returns in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        found: tuple[float, float] = process.submit(run, *arguments).result()
    return found


def predicted(folder: Path, version: int, file: str) -> tuple[float, float]:
    """Seconds of `predict --file` with a version, and MiB at most."""
    with platform(settings(folder)) as ready:
        predictor = serving(ready, version)
        started = time.perf_counter()
        with prediction_file.written(folder / "answers.csv", ".csv", "user_id") as write:
            counts = predict_file(predictor, folder / file, write, datetime.now(UTC))
        took = time.perf_counter() - started
    if set(counts) != {"predicted"}:
        raise SystemExit(f"Not all ids have a prediction: {counts}.")
    return took, peak_mebibytes()


def model_call(folder: Path, version: int, file: str) -> tuple[float, float]:
    """Seconds of the served form alone, on all cores, over rows in memory."""
    import pyarrow as pa

    with platform(settings(folder)) as ready:
        predictor = serving(ready, version)
        served = predictor.production()
        ids = (folder / file).read_text(encoding="utf-8").split()[1:]
        with predictor.column_reader(served) as read:
            rows = [part.rows for part in read(ids).slices(CHUNK_ROWS)]
    features = served.schema.features
    tables = [pa.Table.from_batches([one]) for one in rows]
    parts = [{one.name: dataset_table.values(table, one) for one in features} for table in tables]
    started = time.perf_counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        total = sum(len(labels) for labels, _ in pool.map(served.model.predict, parts))
    took = time.perf_counter() - started
    if total != len(ids):
        raise SystemExit(f"{total} of {len(ids)} ids have a score.")
    return took, 0.0


def serving(ready: Platform, version: int) -> Predictor:
    """The version over the online features, whether it is in Production or not."""
    online = configured_online_store(ready.settings, ready.database, ready.use_case)
    predictor = bootstrap.predictor(ready.settings, ready.use_case, online)
    predictor.set_newest(online.newest_event_timestamps())
    found = ready.registry.version(version)
    model = served_model.load(ready.registry.download(found))
    predictor.serve(Served(found, model, online.plan(model.schema)))
    return predictor


if __name__ == "__main__":
    sys.exit(main())
