"""Claim: on the engine *duckdb*, a training set of two months, from command to matrix, takes at
most 1.5 times the time of the bare DuckDB query, and grows as the number of users does.

Peer: ASOF joins written by hand over the same Parquet files with the same memory, read as Arrow.
Same entities, same features. The copy of history is made once, and is timed by itself.
USERS=100000,1000000 by default.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from bench import RESULTS, interleaved, machine, temporary_folder
from bench.point_in_time import MONTHS, ROUNDS, TABLES
from streamflow.bootstrap import platform
from streamflow.features import point_in_time
from streamflow.history.parquet.history_files import history_files
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.settings import load_settings
from streamflow.training.served_model import encode
from streamflow.training.values_seen import with_values_seen
from streamflow.use_case import Generation

OURS, BARE = "StreamFlow on DuckDB, to the matrix", "bare DuckDB query, to Arrow"
COPY = "copy of history in Parquet, once"


def bare_query(files: Mapping[str, Sequence[str]]) -> str:
    """The join of both months by hand: of each table, the newest row that was known."""

    def rows(history: str) -> str:
        return f"(SELECT * FROM read_parquet({list(files[history])}) WHERE recorded_at <= now())"

    months = ", ".join(f"DATE '{as_of}'" for as_of in MONTHS)
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


def measured(folder: Path, users: int) -> dict[str, list[float]]:
    """Seconds per contestant and round, with so many users."""
    home = folder / f"home-{users}"
    settings = load_settings(home=home, database_url=None, use_case="churn", engine="duckdb")
    with platform(settings) as ready:
        assert ready.use_case.generate is not None
        ready.use_case.generate(Generation(home / "data", users, len(MONTHS), 42))
        for number, as_of in enumerate(MONTHS):
            month = home / "data" / f"month_{number:03}"
            ingest(ready, month, as_of, None, datetime.now(UTC), "bench", really=True)
        apply(ready)
        started = time.perf_counter()
        copied = history_files(ready.database, ready.use_case.name, home)
        seconds = {COPY: [time.perf_counter() - started]}
        query = bare_query({name: view.files for name, view in copied.tables.items()})

        def to_matrix() -> None:
            """What `streamflow train` does before it fits."""
            now = datetime.now(UTC)
            made = point_in_time.assemble(ready.history, ready.use_case, MONTHS, now)
            training_set = made.training_set
            matrix = encode(with_values_seen(training_set), training_set.columns)
            assert len(matrix) > 0.9 * users * len(MONTHS)

        def bare() -> None:
            with duckdb.connect(config={"memory_limit": settings.engine_memory}) as connection:
                connection.execute("SET TimeZone = 'UTC'")
                assert connection.sql(query).to_arrow_table().num_rows > 0.9 * users * len(MONTHS)

        to_matrix()  # Feast's import
        seconds |= interleaved({OURS: timed(to_matrix), BARE: timed(bare)}, ROUNDS)
    return seconds


def timed(step: Callable[[], None]) -> Callable[[], float]:
    """The step, which returns its seconds."""

    def run() -> float:
        started = time.perf_counter()
        step()
        return time.perf_counter() - started

    return run


def shown(users: int, seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Print the medians of a size, and return them."""
    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    for name, median in medians.items():
        ratio = f"   ours is {medians[OURS] / median:.2f} times that" if name == BARE else ""
        per_million = median / users * 1e6
        print(f"{users:>11,}  {name:<35} {median:8.2f} s  {per_million:8.2f} s/million{ratio}")
    return {"users": users, "medians": medians, "seconds": dict(seconds)}


def bars(sizes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the claim asks for, and what was measured."""
    newest, first = sizes[-1], sizes[0]
    of_bare = newest["medians"][OURS] / newest["medians"][BARE]
    growth = (newest["medians"][OURS] / newest["users"]) / (first["medians"][OURS] / first["users"])
    found = [
        ("at most 1.5 times the bare DuckDB query", of_bare, of_bare <= 1.5),
        ("at most 1.3 times the time per user of the smallest size", growth, growth <= 1.3),
    ]
    return [{"bar": bar, "measured": measured, "met": met} for bar, measured, met in found]


def main() -> None:
    """Measure, print and write the results."""
    numbers = [int(one) for one in os.environ.get("USERS", "100000,1000000").split(",")]
    claim = "Training set of two months x 14 features on DuckDB, by number of users"
    print(f"{claim}\n{machine()}\n")
    sizes: list[dict[str, Any]] = []
    with temporary_folder() as folder:
        for users in numbers:
            sizes.append(shown(users, measured(folder, users)))
    for bar in bars(sizes):
        print(f"{bar['bar']}: {bar['measured']:.2f}, {'met' if bar['met'] else 'not met'}")
    RESULTS.mkdir(exist_ok=True)
    result = {"claim": claim, "machine": machine(), "sizes": sizes, "bars": bars(sizes)}
    (RESULTS / "engines.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
