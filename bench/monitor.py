"""Claim: a month of a million users is monitored within 60 s and 1 GB, the database included.

There is no peer in the same run: Evidently and NannyML take a data frame of the month, and are in
`bench.monitoring_peers`. USERS is the number of users, 1,000,000 by default; three months of them
are made by copying some thousand.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from bench import RESULTS, machine, peak_mebibytes, temporary_folder
from streamflow.bootstrap import platform
from streamflow.history.withdrawals.known_rows import FOR_EVER
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.month.monitor import monitor
from streamflow.pipeline.train import train
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.use_case import Generation

MONTHS = (date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31))
ORIGINALS = 5_000


def main() -> None:
    """Measure, print and write the results."""
    users = int(os.environ.get("USERS", "1000000"))
    copies = max(1, users // ORIGINALS)
    with temporary_folder() as folder:
        home = folder / "home"
        settings = load_settings(home=home, database_url=None, use_case="churn")
        with platform(settings) as ready:
            assert ready.use_case.generate is not None
            ready.use_case.generate(Generation(home / "data", ORIGINALS, len(MONTHS), 42))
            now = datetime.now(UTC)
            for number, month in enumerate(MONTHS):
                ingest(ready, home / "data" / f"month_{number:03}", month, None, now, "bench")
            apply(ready)
            train(ready, MONTHS[0], None, 42, datetime.now(UTC))
            copy_users(ready, copies)
            score_months(ready, MONTHS[1:], copies)
            seconds: dict[str, float] = {}
            memory = _Memory()
            for what in ("the first time, with the bins", "again"):
                started = time.perf_counter()
                made = monitor(ready, MONTHS[2], datetime.now(UTC), version=1).monitored
                seconds[what] = time.perf_counter() - started
                assert made.entities == ORIGINALS * copies
            postgresql = memory()
    peak = peak_mebibytes()
    claim = f"A month of {ORIGINALS * copies:,} users is monitored"
    print(f"{claim}\n{machine()}\n")
    for what, taken in seconds.items():
        print(f"{what:<40} {taken:9.1f} s")
    print(f"{'this process, at most':<40} {peak:9.0f} MB")
    print(f"{'PostgreSQL, private memory at most':<40} {postgresql:9.0f} MB")
    result = {
        "claim": claim,
        "machine": machine(),
        "seconds": seconds,
        "process_mb": peak,
        "postgresql_mb": postgresql,
        "alarms": [alarm.sentence for alarm in made.alarms],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "monitor.json").write_text(json.dumps(result, indent=2) + "\n")


def copy_users(ready: Platform, copies: int) -> None:
    """Give each user so many rows in each table, under ids of their own."""
    with ready.database.connection() as connection:
        for table in ready.use_case.tables():
            rows = connection.execute(
                "SELECT column_name AS name FROM information_schema.columns WHERE table_schema = %s"
                " AND table_name = %s AND is_generated = 'NEVER' AND column_name <> 'user_id'",
                [ready.use_case.name, table.history],
            ).fetchall()
            names = ", ".join(f'"{row["name"]}"' for row in rows)
            history = f'"{ready.use_case.name}"."{table.history}"'
            statement = (
                f"INSERT INTO {history} (user_id, {names}) SELECT user_id || '-' || copy, {names}"
                f" FROM {history} CROSS JOIN generate_series(2, {copies}) AS copy"
            )
            connection.execute(statement.encode())
            connection.execute(f"VACUUM ANALYZE {history}".encode())


def score_months(ready: Platform, months: tuple[date, ...], copies: int) -> None:
    """Give each user a score in each of the months."""
    version = ready.registry.version(1)
    for month in months:
        known_at = datetime.now(UTC) - timedelta(minutes=1)
        assert known_at < FOR_EVER
        with ready.database.connection() as connection:
            number = connection.execute(
                "SELECT streamflow.begin_scoring(%s, 1, %s, %s, %s) AS number",
                [version.name, version.model_hash, month, known_at],
            ).fetchall()[0]["number"]
            connection.execute(
                "INSERT INTO streamflow.unfinished_scores"
                " SELECT %s, user_id, score, (score > 0.5)::int::smallint, NULL FROM ("
                "   SELECT user_id, (0.05 + 0.4 * churn_label::int + 0.3 *"
                "     (hashtextextended(user_id, 7) %% 1000)::float8 / 1000 + 0.3) / 1.4 AS score"
                "   FROM churn.labels_history WHERE as_of = %s) AS scored",
                [number, month],
            )
            connection.execute(
                "SELECT streamflow.finish_scoring(%s, %s, 'Production', %s, 'bench')",
                [number, version.run_id, known_at],
            )


class _Memory:
    """Looks at PostgreSQL's processes until it is called, and returns the most memory (MB) that all
    of them had of their own at one time."""

    def __init__(self) -> None:
        self._most = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def __call__(self) -> float:
        self._done.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            total = 0
            for status in Path("/proc").glob("[0-9]*/status"):
                try:
                    text = status.read_text()
                except OSError:
                    continue
                if text.startswith("Name:\tpostgres\n") and "RssAnon:" in text:
                    total += int(text.split("RssAnon:")[1].split()[0])
            self._most = max(self._most, total / 1024)


if __name__ == "__main__":
    sys.exit(main())
