"""Claim: a month of 1,000,000 users, six tables, checked and added to history in constant memory,
whether history is in PostgreSQL or in tables of Apache Iceberg.

Peer: the plain way, a table at a time: pandas reads the file, pandera checks the frame with our
contract, and COPY writes it to a new table; without history, foreign keys and a report by lines.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from io import StringIO
from multiprocessing import get_context
from pathlib import Path

from bench import interleaved, peak_mebibytes, report, temporary_folder
from streamflow.bootstrap import platform
from streamflow.pipeline.ingest import ingest
from streamflow.settings import load_settings
from streamflow.use_case import Generation
from streamflow.use_case.module import load_use_case

USERS = int(os.environ.get("USERS", "1000000"))


def ours(home: Path, month: Path, as_of: date) -> None:
    """`streamflow ingest`."""
    with platform(load_settings(home=home, database_url=None, use_case="churn")) as ready:
        # The same month again and again, as another one each time.
        ingest(ready, month, as_of, None, datetime.now(UTC), "bench", really=True)


def iceberg(home: Path, month: Path, as_of: date) -> None:
    """`streamflow ingest` into Parquet files."""
    beside = home.with_name("iceberg")
    settings = load_settings(
        home=beside,
        database_url=None,
        use_case="churn",
        engine="duckdb",
        history=(beside / "history").as_uri(),
    )
    with platform(settings) as ready:
        ingest(ready, month, as_of, None, datetime.now(UTC), "bench", really=True)


def plain(home: Path, month: Path, as_of: date) -> None:
    """The peer."""
    import pandas

    settings = load_settings(home=home, database_url=None, use_case="churn")
    with (
        platform(settings) as ready,
        ready.database.connection() as connection,
        connection.transaction(),
    ):
        for table in ready.use_case.tables():
            frame = pandas.read_csv(
                month / f"{table.name}.csv",
                dtype={
                    name: str(column.dtype)
                    for name, column in table.contract.columns.items()
                    if str(column.dtype) != "date"
                },
            )
            for name, column in table.contract.columns.items():
                if str(column.dtype) == "date":
                    frame[name] = pandas.to_datetime(frame[name]).dt.date
            table.contract.validate(frame, lazy=True)
            name = f"plain_{table.name}_{as_of:%Y%m%d}"
            columns = ", ".join(f"{column} text" for column in frame.columns)
            connection.execute(f"CREATE TABLE {name} ({columns})")
            text = StringIO()
            frame.to_csv(text, index=False, header=False)
            with (
                connection.cursor() as cursor,
                cursor.copy(f"COPY {name} FROM STDIN WITH (FORMAT csv)") as copy,
            ):
                copy.write(text.getvalue())


def _measured(
    step: Callable[..., None], home: Path, month: Path, as_of: date, results: object
) -> None:
    started = time.perf_counter()
    step(home, month, as_of)
    peak = peak_mebibytes()
    results.put((time.perf_counter() - started, peak))  # type: ignore[attr-defined]


def main() -> None:
    """Measure, print and write the results."""
    use_case = load_use_case("churn")
    assert use_case.generate is not None
    peaks: dict[str, float] = {}
    days = iter(range(1, 28))
    with temporary_folder() as folder:
        home = folder / "home"
        use_case.generate(Generation(home / "data", USERS, 1, 42))
        month = home / "data" / "month_000"

        def in_a_process(name: str, step: Callable[..., None]) -> Callable[[], float]:
            def run() -> float:
                context = get_context("spawn")
                results = context.Queue()
                arguments = (step, home, month, date(2024, 2, next(days)), results)
                process = context.Process(target=_measured, args=arguments)
                process.start()
                seconds, peak = results.get()
                process.join()
                peaks[name] = max(peaks.get(name, 0.0), peak)
                return float(seconds)

            return run

        contestants = {
            "StreamFlow": ours,
            "StreamFlow, Iceberg": iceberg,
            "pandas, pandera, COPY": plain,
        }
        seconds = interleaved(
            {name: in_a_process(name, step) for name, step in contestants.items()}, rounds=3
        )
    memory = ", ".join(f"{name} {peak:,.0f} MB" for name, peak in peaks.items())
    claim = f"A month of {USERS:,} users, six tables, into history (peak memory: {memory})"
    report("ingest", claim, "StreamFlow", seconds)


if __name__ == "__main__":
    sys.exit(main())
