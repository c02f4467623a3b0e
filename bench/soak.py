"""Claim: after minutes under load, latency and memory are as in the first minute, without errors.

16 connections send requests to one worker for SECONDS=600; its resident memory is sampled. With
RESTART=1 its PostgreSQL is restarted in the middle: which statuses occur, and how soon the first
200 comes afterwards. Results are in `soak.json` and `soak_restart.json`. USERS=7043.
"""

from __future__ import annotations

import fcntl
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import RESULTS, load, machine
from bench.cold_start import worker_megabytes
from bench.peers import bars
from bench.peers.contestants import ours
from bench.peers.workplace import workplace
from streamflow.operations import processes
from streamflow.postgres import embedded_cluster

CLAIM = (
    "One worker, 16 connections, {seconds:g} seconds: no error, the last minute's p99 and memory "
    "as in the first"
)
CLAIM_RESTART = (
    "One worker, 16 connections, PostgreSQL restarted in the middle: answers 503 meanwhile, and "
    "200 again by itself"
)
CONNECTIONS = 16
WARM_UP_SECONDS = 1.0


def main() -> None:
    """Measure, print and write the results."""
    seconds = float(os.environ.get("SECONDS", "600"))
    restarting = os.environ.get("RESTART") == "1"
    with workplace(int(os.environ.get("USERS", "7043"))) as place:
        contestant = ours(place)
        with processes.running([contestant.command]) as [child]:
            child.wait_until_ready()
            job = load.Job(
                contestant.port,
                contestant.path,
                contestant.bodies,
                CONNECTIONS,
                seconds,
                WARM_UP_SECONDS,
                windows=max(2, round(seconds * 2 if restarting else seconds / 60)),
            )
            with load.running(job) as process:
                began, end = time.monotonic(), time.monotonic() + WARM_UP_SECONDS + seconds
                memory: list[tuple[float, float]] = []
                restarted: tuple[float, float] | None = None
                while time.monotonic() < end:
                    memory.append((time.monotonic() - began, worker_megabytes(child.pid)))
                    if restarting and restarted is None and time.monotonic() > (began + end) / 2:
                        restarted = restart_postgres(place.home)
                    time.sleep(min(1.0, seconds / 20))
                figures = load.figures_of(process)
    changes = figures.pop("changes")
    share = max(1, len(memory) // len(figures["windows"]))
    first, last = memory[:share], memory[-share:]
    result: dict[str, Any] = {
        "claim": CLAIM_RESTART if restarting else CLAIM.format(seconds=seconds),
        "machine": machine(),
        "seconds": seconds,
        "connections": CONNECTIONS,
        **figures,
        "first_window": figures["windows"][0],
        "last_window": figures["windows"][-1],
        "first_megabytes": statistics.median(megabytes for _, megabytes in first),
        "last_megabytes": statistics.median(megabytes for _, megabytes in last),
        "megabytes": memory,
    }
    if restarted is not None:
        result["restart"] = after_restart(changes, *restarted)
        result["changes"] = [(moment - began, status) for moment, status in changes[:200]]
    else:
        result["bars"] = claim_bars(result)
    show(result)
    RESULTS.mkdir(exist_ok=True)
    name = "soak_restart" if restarting else "soak"
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")


def restart_postgres(home: Path) -> tuple[float, float]:
    """Restart the embedded server on its port as its owner; monotonic times before and after."""
    cluster = embedded_cluster.locate_cluster(home)
    programs = embedded_cluster.executable_binaries(
        embedded_cluster.find_binaries(None)[0], cluster
    )
    # A running server is recognized by this lock, which the new one inherits as the old one did.
    with (
        (home / "locks" / "postgres-server").open("ab") as lock,
        (home / "logs" / "postgres.log").open("ab") as log,
    ):
        started = time.monotonic()
        subprocess.run(
            [programs / "pg_ctl", "restart", "-D", cluster.folder / "data", "-m", "fast", "-w"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock.fileno()],
            check=True,
            **cluster.options,
        )
        ended = time.monotonic()
        fcntl.flock(lock, fcntl.LOCK_EX)
    return started, ended


def after_restart(
    changes: list[tuple[float, str]], started: float, ended: float
) -> dict[str, float | None]:
    """Seconds: of the restart, until the first error, until the first 200, until only 200s."""
    trouble = [moment for moment, status in changes if status != "200" and moment >= started]
    # A status lasts until the next change: when PostgreSQL was back, it may have been 200.
    before = [status for moment, status in changes if moment <= ended]
    good = [moment for moment, status in changes if status == "200" and moment > ended]
    first = ended if before and before[-1] == "200" else min(good, default=None)
    settled = changes[-1][0] if changes and changes[-1][1] == "200" else None
    return {
        "postgres_away_seconds": ended - started,
        "first_trouble_seconds": trouble[0] - started if trouble else None,
        "first_200_after_postgres_is_back_seconds": None if first is None else first - ended,
        "only_200_since_seconds": None
        if settled is None
        else max(0.0, settled - started if trouble else 0.0),
    }


def claim_bars(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The claim, part by part."""
    return [
        bars.at_most(0, "errors", result["errors"]),
        bars.at_most(
            1.2,
            "times the first minute's p99 in the last minute",
            result["last_window"]["p99_ms"] / result["first_window"]["p99_ms"],
        ),
        bars.at_most(
            1.05,
            "times the first minute's memory in the last minute",
            result["last_megabytes"] / result["first_megabytes"],
        ),
    ]


def show(result: dict[str, Any]) -> None:
    """Print the figures and, without a restart, whether each bar is met."""
    print(f"\n{result['claim']}\n{result['machine']}\n")
    print(f"{result['per_second']:,.0f} requests/s, statuses {result['statuses']}")
    for name in ("first", "last"):
        window = result[f"{name}_window"]
        print(
            f"{name:<6} p50 {window['p50_ms'] or 0:.2f} ms, p99 {window['p99_ms'] or 0:.2f} ms, "
            f"{result[f'{name}_megabytes']:.0f} MB"
        )
    if "restart" in result:
        for name, seconds in result["restart"].items():
            print(f"{name.replace('_', ' ')}: {'never' if seconds is None else f'{seconds:.2f}'}")
    else:
        bars.show(result["bars"])


if __name__ == "__main__":
    sys.exit(main())
