"""Claim: the figures by which a month is compared with training's are those of NannyML and
Evidently in the same bins, to 1e-9, in no more time than theirs, import included.

Ours is `streamflow monitor` over PostgreSQL, which compares the month before, tables, scores and
labels too; theirs read the same rows, in Parquet, and have the same scores. Each round is a process
of its own, whose memory is shown: ours is without that of PostgreSQL, which does the counting.
NannyML has the Jensen-Shannon distance and an estimate (CBPE), Evidently has the population
stability index and the distance. They choose other bins for numbers than we do, so each feature is
given to them a second time as the names of our bins: those figures have to be ours. Our index
counts half a row more in each bin; theirs is held against the index of the plain shares, of
features that have rows in every bin.

The peers are in environments of their own, made from `bench/peers/requirements-*.txt` in
`build/peers` at the first run; without such a file, or where it can't be installed, that peer is
left out, and it is said. USERS=100000, ROUNDS=3 by default.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from scipy.special import rel_entr

from bench import RESULTS, machine, temporary_folder
from bench.peers.bars import at_least, at_most, show
from streamflow.bootstrap import platform
from streamflow.monitoring.counts import NumberCounts
from streamflow.monitoring.reading import month_rows
from streamflow.monitoring.reading.learned import learned
from streamflow.monitoring.reading.reference import Reference, reference
from streamflow.monitoring.statistics.shift import tenths
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.train import train
from streamflow.platform import Platform
from streamflow.scores.everyone import score
from streamflow.settings import load_settings
from streamflow.use_case import Generation

CLAIM = "The figures of a month are those of NannyML and Evidently, in no more time than theirs"
MONTHS = (date(2024, 1, 31), date(2024, 2, 29))
REPOSITORY = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "peers"
OURS, BINNED = "streamflow monitor", " in our bins"
SAME = 1e-9


def main() -> None:
    """Measure, print and write the results."""
    users, rounds = (int(os.environ.get(*one)) for one in (("USERS", "100000"), ("ROUNDS", "3")))
    environments = {name: found for name in ("NannyML", "Evidently") if (found := installed(name))}
    with temporary_folder() as folder:
        home = folder / "home"
        with platform(load_settings(home=home, database_url=None, use_case="churn")) as ready:
            prepare(ready, users)
            write_rows(ready, folder)
            commands = {
                OURS: [sys.executable, "-m", "bench.peers.monitored_by_streamflow", str(home)],
                **{
                    name: [str(python), str(PEERS / f"monitored_by_{name.lower()}.py"), str(folder)]
                    for name, python in environments.items()
                },
            }
            commands[OURS].append(str(MONTHS[1]))
            # The first time, ours makes the bins of training's features, which it keeps.
            first = run(commands[OURS])
            told: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
            for _ in range(rounds):
                for name, command in commands.items():
                    told[name].append(run(command))
    report(users, first, told)


def installed(name: str) -> Path | None:
    """The Python of the peer's environment, made if it isn't there; None if it can't be."""
    requirements = PEERS / f"requirements-{name.lower()}.txt"
    if not requirements.exists():
        print(f"{name} is left out: {requirements.relative_to(REPOSITORY)} isn't there.")
        return None
    folder = REPOSITORY / "build" / "peers" / name.lower()
    python, mark = folder / "bin" / "python", folder / "installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return python
    venv.create(folder, clear=True, with_pip=True)
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    done = subprocess.run([*pip, "--require-hashes", "-r", str(requirements)], check=False)
    if done.returncode:
        print(f"{name} is left out: {requirements.relative_to(REPOSITORY)} can't be installed.")
        return None
    mark.write_text(wanted)
    return python


def prepare(ready: Platform, users: int) -> None:
    """Two months, a version that learned from the first one, and everybody's scores of both."""
    assert ready.use_case.generate is not None
    data = ready.settings.home / "data"
    # Enough drift for figures that aren't of chance alone.
    ready.use_case.generate(Generation(data, users=users, months=2, seed=42, drift=3.0))
    now = datetime.now(UTC)
    for number, month in enumerate(MONTHS):
        ingest(ready, data / f"month_{number:03}", month, None, now, "bench")
    apply(ready)
    train(ready, MONTHS[0], "logistic_regression", 42, datetime.now(UTC))
    score(ready, MONTHS[1], "bench", datetime.now(UTC), version=1)


def write_rows(ready: Platform, folder: Path) -> None:
    """What the peers read: training's features, the month's with its scores, and the rows that
    judged the version with scores and labels."""
    of_version = learned(ready, ready.registry.version(1))
    history = month_rows.history(ready.database, ready.use_case, datetime.now(UTC))
    kept = reference(history, of_version)
    features = [one.name for one in of_version.schema.features]
    training, month = (
        binned(month_table(ready.settings.home / "data" / f"month_{number:03}", features), kept)
        for number in (0, 1)
    )
    pa.parquet.write_table(training.drop_columns(["user_id"]), folder / "training.parquet")
    scored = month.join(scores(ready), "user_id").drop_columns(["user_id"])
    pa.parquet.write_table(scored, folder / "month.parquet")
    judged = of_version.scores
    assert judged is not None
    pa.parquet.write_table(
        pa.table(
            {
                "score": judged["probability"],
                "prediction": judged["prediction"],
                "label": pc.cast(judged["label"], pa.int64()),
            }
        ),
        folder / "judged.parquet",
    )


def month_table(folder: Path, features: list[str]) -> pa.Table:
    """The features of a month's files; booleans as texts, which the peers compare as categories."""
    whole: pa.Table | None = None
    for file in sorted(folder.glob("*.csv")):
        table = pa.csv.read_csv(file)
        table = table.select(
            ["user_id", *(name for name in table.column_names if name in features)]
        )
        whole = table if whole is None else whole.join(table, "user_id")
    assert whole is not None
    columns = {"user_id": whole["user_id"]}
    for name in features:
        column = whole[name]
        is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        columns[name] = column.cast(pa.float64() if is_number else pa.string())
    return pa.table(columns)


def binned(table: pa.Table, kept: Reference) -> pa.Table:
    """With each feature of numbers a second time, as the names of the bins that ours compares."""
    for name, counts in kept.counts.items():
        if isinstance(counts, NumberCounts):
            group = tenths(np.array(counts.bins, np.int64))
            edges = np.array(kept.bins[name], np.float64)
            values = table[name].to_numpy(zero_copy_only=False)
            bins = group[np.searchsorted(edges, values, side="right")]
            names = pa.array([f"bin {number}" for number in bins], mask=np.isnan(values))
        else:
            names = table[name]
        table = table.append_column(name + BINNED, names)
    return table


def scores(ready: Platform) -> pa.Table:
    """Everybody's score and label of the second month."""
    with ready.database.connection() as connection:
        rows = connection.execute(
            "SELECT entity_id, probability, label FROM streamflow.scores"
            " JOIN streamflow.scorings USING (scoring_id) WHERE as_of = %s",
            [MONTHS[1]],
        ).fetchall()
    return pa.table(
        {
            "user_id": [row["entity_id"] for row in rows],
            "score": [row["probability"] for row in rows],
            "prediction": [int(row["label"]) for row in rows],
        }
    )


def run(command: list[str]) -> dict[str, Any]:
    """What the contestant tells; it is to tell nobody else."""
    quiet = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        command, env={**os.environ, **quiet}, cwd=REPOSITORY, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    """The largest difference of a figure in our bins."""
    return max(abs(ours[name] - theirs[name + BINNED]) for name in ours)


def plain_index(shares: Mapping[str, tuple[list[float], list[float]]]) -> dict[str, float]:
    """The population stability index of each feature with rows in every bin, by scipy."""
    return {
        name: float(np.sum(rel_entr(before, now)) + np.sum(rel_entr(now, before)))
        for name, (before, now) in shares.items()
        if min(*before, *now) > 0
    }


def report(users: int, first: dict[str, Any], told: dict[str, list[dict[str, Any]]]) -> None:
    """Print and write times, memory and figures."""
    print(f"{CLAIM}\n{machine()}\n{users:,} users\n")
    print(f"{'':<24}{'import s':>10}{'work s':>10}{'MiB':>8}{'AUC':>8}")
    medians: dict[str, dict[str, float]] = {}
    for name, rounds in told.items():
        of = medians[name] = {
            what: statistics.median(one[what] for one in rounds)
            for what in ("import_seconds", "seconds", "mebibytes")
        }
        auc = rounds[0].get("estimated_auc")
        shown = f"{auc:8.4f}" if auc is not None else f"{'-':>8}"
        print(
            f"{name:<24}{of['import_seconds']:>10.2f}{of['seconds']:>10.2f}"
            f"{of['mebibytes']:>8.0f}{shown}"
        )
    ours = told[OURS][0]
    print(f"\nours, the first time: {first['seconds']:.2f} s")
    print(f"AUC by the labels: {ours['realized_auc']:.4f}\n")
    bars, differences = [], {}
    for name in told:
        if name == OURS:
            continue
        of, mine = medians[name], medians[OURS]
        whole = of["import_seconds"] + of["seconds"]
        bars.append(
            at_least(
                1, f"times our time, {name}", whole / (mine["import_seconds"] + mine["seconds"])
            )
        )
        expected = {"jensen_shannon": ours["jensen_shannon"], "psi": plain_index(ours["shares"])}
        for figure, mine_by_feature in expected.items():
            if figure in told[name][0]:
                found = difference(mine_by_feature, told[name][0][figure])
                differences[f"{name}, {figure}, {len(mine_by_feature)} features"] = found
                bars.append(at_most(SAME, f"apart, {figure} in our bins, {name}", found))
    if "NannyML" in told:
        found = abs(ours["estimated_auc"] - told["NannyML"][0]["estimated_auc"])
        bars.append(at_most(0.02, "apart, the estimated AUC, NannyML", found))
    for what, found in differences.items():
        print(f"{what}: at most {found:.1e} apart")
    print()
    show(bars)
    RESULTS.mkdir(exist_ok=True)
    result = {
        "claim": CLAIM,
        "machine": machine(),
        "users": users,
        "the first time": first,
        "told": told,
        "medians": medians,
        "largest differences": differences,
        "bars": bars,
    }
    (RESULTS / "monitoring_peers.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
