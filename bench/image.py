"""Claim: the slim image is under 400 MB, ready in under 3 seconds, with 250 MB at most per worker.

Measured in containers beside a running `make stack`; each is started, gets requests over 16
connections for SECONDS=2 and is removed. ROUNDS=5 by default. What the image adds to its base is
reported separately. COMPOSE names another command for Docker Compose.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from bench import RESULTS, machine
from bench.peers import bars

CLAIM = "The slim image: under 400 MB; start to ready under 3 seconds; a worker up to 250 MB"
IMAGE, BASE = "streamflow-api", "python:3.11-slim-bookworm"
TIMEOUT_SECONDS = 60


def main() -> None:
    """Measure, print and write the results."""
    compose = os.environ.get("COMPOSE", "docker compose").split()
    rounds = int(os.environ.get("ROUNDS", "5"))
    result = {
        "claim": CLAIM,
        "machine": machine(),
        **measure(compose, rounds, float(os.environ.get("SECONDS", "2"))),
    }
    show(result)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "image.json").write_text(json.dumps(result, indent=2) + "\n")


def measure(compose: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    """Sizes in bytes, and per round seconds to ready and the largest process's memory in bytes."""
    size, base = (
        int(_run("docker", "image", "inspect", "--format={{.Size}}", image))
        for image in (IMAGE, BASE)
    )
    key, entity_ids = _key_and_ids(compose)
    runs = [start(compose, key, entity_ids, seconds) for _ in range(rounds)]
    medians = {figure: statistics.median(run[figure] for run in runs) for figure in runs[0]}
    return {"size": size, "added_to_base": size - base, "medians": medians, "rounds": runs}


def _key_and_ids(compose: list[str]) -> tuple[str, list[str]]:
    script = 'echo "$STREAMFLOW_API_KEY"; head -n 101 /state/data/churn-*/month_001/users.csv'
    shell = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "pipeline", "-c", script)
    key, _, *lines = _run(*compose, *shell).splitlines()
    return key, [line.split(",")[0] for line in lines]


def start(compose: list[str], key: str, entity_ids: list[str], seconds: float) -> dict[str, float]:
    """Start a container, measure it, and remove it."""
    options = (
        *("--detach", "--no-deps", "--publish", "127.0.0.1::8000"),
        *("--env", "STREAMFLOW_API_KEY_RATE=1000000"),  # all requests use one key
    )
    container = _run(*compose, "run", *options, "api").split()[-1]
    try:
        (details,) = json.loads(_run("docker", "inspect", container))
        port = int(details["NetworkSettings"]["Ports"]["8000/tcp"][0]["HostPort"])
        _until_ready(port)
        ready = datetime.now(UTC).timestamp()
        started = datetime.fromisoformat(details["State"]["StartedAt"]).timestamp()
        at_start = _largest(container)
        _send_requests(port, key, entity_ids, seconds)
        return {
            "ready_seconds": ready - started,
            "bytes_at_start": at_start,
            "bytes_after_load": _largest(container),
        }
    finally:
        _run("docker", "rm", "--force", "--volumes", container)


def _until_ready(port: int) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.005)
    raise SystemExit("The API isn't ready: is a model in Production? See `make stack`.")


def _send_requests(port: int, key: str, entity_ids: list[str], seconds: float) -> None:
    """Requests without pause over sixteen connections; each response must be a prediction."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for entity_id in itertools.cycle(entity_ids[number:] + entity_ids[:number]):
            connection.request("POST", "/predict", json.dumps({"user_id": entity_id}), headers)
            response = connection.getresponse()
            if response.status != 200:
                raise SystemExit(f"{response.status}: {response.read().decode()}")
            response.read()
            if time.monotonic() > end:
                return connection.close()

    with ThreadPoolExecutor(16) as clients:
        list(clients.map(client, range(16)))


def _largest(container: str) -> float:
    """Resident bytes of the container's largest process: a worker."""
    _, *lines = _run("docker", "top", container, "-eo", "pid,rss").splitlines()
    return max(float(line.split()[1]) for line in lines) * 1024


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def show(result: dict[str, Any]) -> None:
    """Print the figures and whether each bar is met."""
    medians = result["medians"]
    print(f"\n{result['claim']}\n{result['machine']}\n")
    print(f"image               {result['size'] / 1e6:8.0f} MB")
    print(f"  added to its base {result['added_to_base'] / 1e6:8.0f} MB")
    print(f"start to ready      {medians['ready_seconds']:8.2f} s")
    print(f"largest process     {medians['bytes_at_start'] / 1e6:8.0f} MB at start")
    print(f"                    {medians['bytes_after_load'] / 1e6:8.0f} MB after load\n")
    bars.show(
        [
            bars.at_most(400, "MB of image", result["size"] / 1e6),
            bars.at_most(3, "seconds to ready", medians["ready_seconds"]),
            bars.at_most(250, "MB per worker under load", medians["bytes_after_load"] / 1e6),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
