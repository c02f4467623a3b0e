"""Claim: three exact reasons for each of 50,000 entities take at most 5 minutes with a forest of
300 trees, and 30 seconds with LightGBM, on two cores; features read and reasons written included.

Peers, on the same rows and the same background: woodelf's own explainer, given the estimator (one
process; it computes alone, and reads and writes nothing), and LightGBM's `pred_contrib`, which has
no background. Models learn from LEARN=7043 subscribers; USERS=50000 of the next month are scored.
With FULL=1, a forest of fully grown trees too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from bench import RESULTS, machine, temporary_folder
from streamflow.bootstrap import platform
from streamflow.features import month_rows
from streamflow.lineage import judged_version
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.month.explain_scores import BACKGROUND_ROWS, explain_scores
from streamflow.pipeline.train import train
from streamflow.platform import Platform
from streamflow.scores import unfinished
from streamflow.scores.unfinished import ScoringKey
from streamflow.settings import load_settings
from streamflow.training.served_model import Matrix, encode
from streamflow.use_case import Generation

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
CLAIM = (
    "Three exact reasons for each of 50,000 entities: at most 300 s with a forest of 300 trees, "
    "30 s with LightGBM, on two cores"
)
BARS = {"forest_of_300": 300.0, "full_forest_of_300": None, "lightgbm": 30.0}


def forest(random_state: int) -> Any:
    """300 trees, with leaves as the use case has them."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        n_estimators=300, min_samples_leaf=15, random_state=random_state, n_jobs=1
    )


def full_forest(random_state: int) -> Any:
    """300 trees, each grown until its leaves are pure."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=300, random_state=random_state, n_jobs=1)


def main() -> None:
    """Measure, print and write the results."""
    users, learn = (int(os.environ.get(*one)) for one in (("USERS", "50000"), ("LEARN", "7043")))
    with temporary_folder() as folder:
        home = folder / "home"
        with platform(load_settings(home=home, database_url=None, use_case="churn")) as opened:
            wanted = ["forest_of_300", "lightgbm"]
            if os.environ.get("FULL"):
                wanted.append("full_forest_of_300")
            builders = {"forest_of_300": forest, "full_forest_of_300": full_forest}
            models = {**opened.use_case.models, **builders}
            ready = replace(opened, use_case=replace(opened.use_case, models=models))
            load(ready, learn, users)
            result = {
                "claim": CLAIM,
                "machine": machine(),
                "entities": users,
                "background": BACKGROUND_ROWS,
                "models": {
                    name: measured(ready, name, number)
                    for number, name in enumerate(wanted, start=1)
                },
            }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "reasons.json").write_text(json.dumps(result, indent=2) + "\n")


def load(ready: Platform, learn: int, users: int) -> None:
    """A month to learn from, and a month to score."""
    assert ready.use_case.generate is not None
    now = datetime.now(UTC)
    for month, (as_of, count) in enumerate(((JANUARY, learn), (FEBRUARY, users))):
        data = ready.settings.home / f"data_{month}"
        ready.use_case.generate(Generation(data, count, month + 1, 42))
        ingest(ready, data / f"month_{month:03}", as_of, None, now, "bench")
    apply(ready)


def measured(ready: Platform, name: str, number: int) -> dict[str, Any]:
    """Seconds of the step and of the peers for one model."""
    train(ready, JANUARY, name, 42, datetime.now(UTC))
    matrix = score(ready, number)
    began = time.perf_counter()
    done = explain_scores(
        ready, FEBRUARY, len(matrix), "bench", datetime.now(UTC), print, version=number
    )
    seconds = time.perf_counter() - began
    bar = BARS[name]
    print(f"{name}: {seconds:.1f} s, {done.refused} refused; bar {bar} s")
    peers = {
        peer: run(ready, name, matrix)
        for peer, run in PEERS.items()
        if name == "lightgbm" or "lightgbm" not in peer
    }
    for peer, taken in peers.items():
        print(f"    {peer:<40} {taken:8.1f} s, {taken / seconds:.1f} times ours")
    return {"seconds": seconds, "bar": bar, "refused": done.refused, "peers": peers}


def score(ready: Platform, number: int) -> Matrix:
    """Score February by the version; returns the encoded rows."""
    version = ready.registry.version(number)
    model = judged_version.judged_version(ready, version).model
    known_at = datetime.now(UTC)
    key = ScoringKey(version.name, number, version.model_hash, FEBRUARY, known_at)
    unfinished_id = unfinished.begin(ready.database, key)
    lines, parts = [], []
    for batch in month_rows.month_rows(ready.database, ready.use_case, FEBRUARY, known_at):
        columns = {one.name: batch.column(one.name).to_pylist() for one in model.schema.features}
        parts.append(encode(model.schema, columns))
        labels, probabilities = model.score(parts[-1])
        of_rows = zip(batch.column(0).to_pylist(), probabilities, labels, strict=True)
        lines += [f"{unfinished_id},{one},{float(p)!r},{label},\n" for one, p, label in of_rows]
    ready.database.copy("copy_unfinished_scores", "".join(lines).encode())
    unfinished.finish(ready.database, unfinished_id, version.run_id, "None", known_at, "bench")
    return np.concatenate(parts)


def fitted(ready: Platform, name: str, matrix: Matrix) -> Any:
    """An estimator of the model's kind and size; its trees are of made-up labels."""
    random = np.random.default_rng(42)
    rows = matrix[: int(os.environ.get("LEARN", "7043"))]
    risk = (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-9)
    labels = risk[:, :6].sum(axis=1) + random.normal(size=len(rows)) > 1.0
    estimator: Any = ready.use_case.models[name](42)
    return estimator.fit(rows, labels.astype(np.int64))


def woodelf_explainer(ready: Platform, name: str, matrix: Matrix) -> float:
    """Seconds of woodelf's own explainer."""
    import pandas
    from woodelf import WoodelfExplainer

    frame = pandas.DataFrame(matrix).rename(columns=str)
    explainer = WoodelfExplainer(fitted(ready, name, matrix), frame[:BACKGROUND_ROWS])
    began = time.perf_counter()
    explainer.shap_values(frame, verbose=False)
    return time.perf_counter() - began


def pred_contrib(ready: Platform, name: str, matrix: Matrix) -> float:
    """Seconds of LightGBM's own contributions, path-dependent."""
    booster = fitted(ready, name, matrix).booster_
    began = time.perf_counter()
    booster.predict(matrix, pred_contrib=True, num_threads=2)
    return time.perf_counter() - began


PEERS: dict[str, Callable[[Platform, str, Matrix], float]] = {
    "woodelf's explainer": woodelf_explainer,
    "lightgbm's pred_contrib": pred_contrib,
}

if __name__ == "__main__":
    sys.exit(main())
