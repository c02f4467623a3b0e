"""Claim: with 200,000 users and 24 months each page of the console takes under 300 ms at the
median, and its process less than 200 MB.

There is no peer: nobody else shows these pages. USERS and MONTHS are 200,000 and 24 by default; the
months are made by copying some thousand users.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import urllib.parse
import urllib.request
from calendar import monthrange
from datetime import UTC, date, datetime
from pathlib import Path

from bench import RESULTS, machine, temporary_folder
from bench.monitor import copy_users, score_months
from bench.peers import bars
from bench.peers.workplace import free_port
from streamflow.bootstrap import platform
from streamflow.operations import processes
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.month.monitor import monitor
from streamflow.pipeline.train import train
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.use_case import Generation

ORIGINALS = 4_000
ROUNDS = 15
MOST_MS, MOST_MB = 300, 200
LOG_DAYS = (date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3))


def main() -> None:
    """Measure, print and write the results."""
    users = int(os.environ.get("USERS", "200000"))
    months = [last_day(number) for number in range(int(os.environ.get("MONTHS", "24")))]
    copies = max(1, users // ORIGINALS)
    with temporary_folder() as folder:
        home = folder / "home"
        settings = load_settings(home=home, database_url=None, use_case="churn")
        with platform(settings) as ready:
            somebody = _prepared(ready, months, copies)
            milliseconds, megabytes = _measured(home, somebody, months[-1])
    claim = f"The console's pages over {ORIGINALS * copies:,} users and {len(months)} months"
    print(f"{claim}\n{machine()}\n")
    for page, taken in milliseconds.items():
        print(f"{page:<40} {taken['median']:8.0f} ms   (the first time {taken['first']:.0f})")
    slowest = max(taken["median"] for taken in milliseconds.values())
    held = [
        bars.at_most(MOST_MS, "ms, the slowest page at the median", slowest),
        bars.at_most(MOST_MB, "MB, the process after all pages", megabytes),
    ]
    bars.show(held)
    result = {"claim": claim, "machine": machine(), "milliseconds": milliseconds, "bars": held}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "console.json").write_text(json.dumps(result, indent=2) + "\n")


def last_day(number: int) -> date:
    """Of the month with this number; 0 is January 2024."""
    year, month = 2024 + number // 12, number % 12 + 1
    return date(year, month, monthrange(year, month)[1])


def _prepared(ready: Platform, months: list[date], copies: int) -> str:
    """Months, scores, a monitoring and a prediction log; returns somebody's id."""
    home = ready.settings.home
    assert ready.use_case.generate is not None
    ready.use_case.generate(Generation(home / "data", ORIGINALS, len(months), 42))
    now = datetime.now(UTC)
    for number, month in enumerate(months):
        ingest(ready, home / "data" / f"month_{number:03}", month, None, now, "bench")
    apply(ready)
    train(ready, months[0], None, 42, datetime.now(UTC))
    copy_users(ready, copies)
    score_months(ready, tuple(months[1:]), copies)
    monitor(ready, months[-1], datetime.now(UTC), version=1)
    with ready.database.connection() as connection:
        for day in LOG_DAYS:
            connection.execute("SELECT streamflow.create_prediction_partition(%s)", [day])
            connection.execute(
                "INSERT INTO streamflow.predictions (predicted_at, served_model, prediction,"
                " probability, request_id, entity_id)"
                " SELECT %s::date + interval '1 hour', gen_random_uuid(), 0, 0.5,"
                "   md5(user_id || %s), user_id FROM churn.users_history WHERE as_of = %s",
                [day, str(day), months[-1]],
            )
        connection.execute("ANALYZE")
        row = connection.execute(
            "SELECT user_id FROM churn.users_history WHERE as_of = %s ORDER BY 1 LIMIT 1",
            [months[-1]],
        ).fetchall()[0]
    return str(row["user_id"])


def _measured(home: Path, somebody: str, month: date) -> tuple[dict[str, dict[str, float]], float]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    console = processes.Command(
        "Console",
        [sys.executable, "-m", "streamflow", "console", "--port", str(port)],
        {"STREAMFLOW_HOME": str(home)},
        f"{url}/health",
        home / "logs" / "console.log",
    )
    with processes.running([console]) as (child,):
        child.wait_until_ready()
        who = urllib.parse.quote(somebody)
        pages = {
            "overview": "/",
            "list": "/entities",
            "list, far down": "/entities?after=15000",
            "list, search": f"/entities?q={who[:6]}",
            "list, search without a hit": "/entities?q=nobodyhasthis",
            "list, segment": "/entities?segment_1=Two+year",
            "list, decile": "/entities?decile=10",
            "whom to contact": "/entities/contacts?contacts=1000",
            "one user": f"/entities/one?id={who}",
            "answers of one user": f"/entities/answers?id={who}",
            "what was known of one user": f"/data/versions?table=subscriptions&id={who}",
            "models": "/models",
            "data": "/data",
            "corrections": f"/data/corrections?table=subscriptions&as_of={month}",
            "history": "/history",
            "months": "/months",
            "report": f"/months/report?as_of={month}",
        }
        found = {name: _page(url + path) for name, path in pages.items()}
        status = Path(f"/proc/{child.pid}/status").read_text()
        return found, int(status.split("VmRSS:")[1].split()[0]) / 1024


def _page(url: str) -> dict[str, float]:
    taken = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        with urllib.request.urlopen(url, timeout=60) as answer:
            answer.read()
        taken.append(1000 * (time.perf_counter() - started))
    return {"first": taken[0], "median": statistics.median(taken[1:])}


if __name__ == "__main__":
    sys.exit(main())
