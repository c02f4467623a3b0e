"""Claim: `streamflow serve` is ready within 2 seconds, and a worker takes at most 250 MB.

Peers: the plain way (Feast's SDK, a DataFrame, `mlflow.pyfunc`, FastAPI) from its start to its
first prediction; and an endpoint that does nothing, which is what Python and FastAPI take by
themselves. The database runs already. Memory is measured after the first prediction, and after 16
connections sent requests for SECONDS=2. ROUNDS=5, USERS=7043 by default.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import sys
import time
from typing import Any

import psutil

from bench import RESULTS, load, machine
from bench.peers import bars, stores
from bench.peers.contestants import OURS, PLAIN, Contestant, floor, ours, plain
from bench.peers.workplace import workplace
from streamflow.operations import processes

CLAIM = "From the start of `streamflow serve` to ready: under 2 seconds; a worker: up to 250 MB"
TIMEOUT_SECONDS = 120


def main() -> None:
    """Measure, print the table and write the results."""
    seconds = float(os.environ.get("SECONDS", "2"))
    rounds = int(os.environ.get("ROUNDS", "5"))
    with workplace(int(os.environ.get("USERS", "7043"))) as place:
        folder = stores.feast_folder(place, "peer-postgres", stores.postgres_store(place))
        model_uri = stores.plain_model(place, stores.features_of(place, folder))
        contestants = [ours(place), plain(place, PLAIN, folder, model_uri), floor(place)]
        measured: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in contestants}
        for number in range(-1, rounds):  # the first round fills the disk's cache and isn't counted
            for contestant in contestants:
                figures = start(contestant, seconds)
                if number >= 0:
                    measured[contestant.name].append(figures)
    result: dict[str, Any] = {
        "claim": CLAIM,
        "machine": machine(),
        "rounds": rounds,
        "contestants": {
            name: {
                **{figure: statistics.median(run[figure] for run in runs) for figure in runs[0]},
                "rounds": runs,
            }
            for name, runs in measured.items()
        },
    }
    own = result["contestants"][OURS]
    result["bars"] = [
        bars.at_most(2, "seconds to ready", own["ready_seconds"]),
        bars.at_most(250, "MB per worker under load", own["megabytes_after_load"]),
    ]
    print(f"\n{CLAIM}\n{machine()}\n")
    print(f"{'':<38} {'ready':>8} {'first prediction':>18} {'memory':>8} {'after load':>12}")
    for name, row in result["contestants"].items():
        print(
            f"{name:<38} {row['ready_seconds']:>6.2f} s {row['first_prediction_seconds']:>16.2f} s "
            f"{row['megabytes_at_start']:>5.0f} MB {row['megabytes_after_load']:>9.0f} MB"
        )
    print()
    bars.show(result["bars"])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cold_start.json").write_text(json.dumps(result, indent=2) + "\n")


def start(contestant: Contestant, seconds: float) -> dict[str, float]:
    """Seconds from the start to ready and to the first prediction, and the worker's memory."""
    ready_path = contestant.command.ready_url.rpartition("/")[2]
    started = time.monotonic()
    with processes.running([contestant.command]) as [child]:
        until_200(child, contestant.port, "GET", f"/{ready_path}", None)
        ready = time.monotonic() - started
        until_200(child, contestant.port, "POST", contestant.path, contestant.bodies[0])
        predicted = time.monotonic() - started
        at_start = worker_megabytes(child.pid)
        load.drive(load.Job(contestant.port, contestant.path, contestant.bodies, 16, seconds))
        return {
            "ready_seconds": ready,
            "first_prediction_seconds": predicted,
            "megabytes_at_start": at_start,
            "megabytes_after_load": worker_megabytes(child.pid),
        }


def until_200(child: processes.Child, port: int, method: str, path: str, body: str | None) -> None:
    """Repeat the request until it returns status 200."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while child.alive and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.005)
    raise SystemExit(f"{child.command.name} doesn't return 200 for {path}: see {child.command.log}")


def worker_megabytes(pid: int) -> float:
    """Resident memory of the largest process: the worker, if a supervisor is above it."""
    root = psutil.Process(pid)
    resident = [process.memory_info().rss for process in (root, *root.children(recursive=True))]
    return float(max(resident)) / 1e6


if __name__ == "__main__":
    sys.exit(main())
