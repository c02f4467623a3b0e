"""Claim: one worker of `/predict` with 16 connections answers at least 200 times as many requests
as the plain way, 3 times as many as Feast's async client with ONNX Runtime, and half as many as an
endpoint that does nothing; alone, it takes at most 0.6 ms longer than that.

Peers, one worker each, same users, same features, a forest of the same size: the plain way (Feast's
SDK, a DataFrame, `mlflow.pyfunc`, FastAPI) with Feast's own PostgreSQL, SQLite and Redis stores,
Feast's async client with ONNX Runtime, `mlflow models serve`, `feast serve`. All run at the same
time, and get requests in turn. SECONDS=3 per turn, ROUNDS=3, USERS=7043 by default.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import urllib.request
from typing import Any

from bench import RESULTS, load, machine
from bench.peers import bars
from bench.peers.contestants import (
    ASYNCHRONOUS,
    FLOOR,
    OURS,
    PLAIN,
    Contestant,
    all_contestants,
    redis_server,
)
from bench.peers.workplace import Workplace, workplace
from streamflow.operations import processes

CLAIM = (
    "/predict, one worker, 16 connections: at least 200 times the requests per second of the plain "
    "way with Feast's PostgreSQL store, at least 3 times Feast's async client with ONNX Runtime, "
    "at least 50 % of the empty POST endpoint's; at one connection, p50 within 0.6 ms of the empty "
    "endpoint's and p99 under 3 times its own p50"
)
CONNECTIONS = (1, 4, 16)
BATCH = 1_000


def main() -> None:
    """Measure, print and write the results."""
    seconds = float(os.environ.get("SECONDS", "3"))
    rounds = int(os.environ.get("ROUNDS", "3"))
    with workplace(int(os.environ.get("USERS", "7043"))) as place, redis_server(place):
        contestants, skipped = all_contestants(place)
        with processes.running([contestant.command for contestant in contestants]) as children:
            for child in children:
                child.wait_until_ready()
            check(contestants)
            turns = in_turns(contestants, seconds, rounds)
            batches, no_batch = in_batches(contestants, place, seconds, rounds)
    result: dict[str, Any] = {
        "claim": CLAIM,
        "machine": machine(),
        "seconds": seconds,
        "rounds": rounds,
        "users": len(place.users),
        "contestants": {name: medians(of_one) for name, of_one in turns.items()},
        "batch": {"rows": BATCH, "median_ms": batches},
        "skipped": {**skipped, **no_batch},
    }
    result["bars"] = claim_bars(result["contestants"])
    show(result)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "serving.json").write_text(json.dumps(result, indent=2) + "\n")


def check(contestants: list[Contestant]) -> None:
    """Each returns predictions, and the two with the same model the same probability."""
    by_name = {contestant.name: contestant for contestant in contestants}
    for body in by_name[OURS].bodies[:20]:
        ours = by_name[OURS].predict(body)["probability"]
        theirs = by_name[ASYNCHRONOUS].predict(body)["probability"]
        if ours != theirs:
            raise SystemExit(f"{body}: {OURS} returns {ours}, {ASYNCHRONOUS} {theirs}")
    for contestant in contestants:
        contestant.predict(contestant.bodies[0])


def in_turns(
    contestants: list[Contestant], seconds: float, rounds: int
) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """The figures of each turn, per contestant and number of connections."""
    turns: dict[str, dict[int, list[dict[str, Any]]]] = {
        contestant.name: {connections: [] for connections in CONNECTIONS}
        for contestant in contestants
    }
    for number in range(-1, rounds):  # the first round warms up and isn't counted
        for connections in CONNECTIONS:
            # The order alternates, so that none always comes after the same one.
            for contestant in contestants if number % 2 == 0 else reversed(contestants):
                figures = load.drive(
                    load.Job(
                        contestant.port,
                        contestant.path,
                        contestant.bodies,
                        connections,
                        seconds if number >= 0 else min(seconds, 1.0),
                        seed=number + 1,
                    )
                )
                if number < 0:
                    continue
                del figures["windows"], figures["changes"], figures["began_at"]
                turns[contestant.name][connections].append(figures)
        print(f"round {number + 1} of {rounds}", flush=True)
    return turns


def in_batches(
    contestants: list[Contestant], place: Workplace, seconds: float, rounds: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Median milliseconds for a batch of users over one connection, and why some have none."""
    dice = random.Random(42)
    batches = [
        [place.users[dice.randrange(len(place.users))] for _ in range(BATCH)] for _ in range(20)
    ]
    paths, skipped = {}, {}
    for contestant in contestants:
        if contestant.name == OURS:
            endpoint = our_batch(contestant)
            if endpoint is None:
                skipped[f"{OURS}, batch"] = "the API has no batch endpoint"
            else:
                paths[OURS] = endpoint
        elif contestant.batch_path:
            paths[contestant.name] = contestant.batch_path, "user_ids"
    medians: dict[str, list[float]] = {name: [] for name in paths}
    for number in range(rounds):
        for contestant in contestants:
            if contestant.name not in paths:
                continue
            path, name = paths[contestant.name]
            bodies = [json.dumps({name: batch}) for batch in batches]
            job = load.Job(contestant.port, path, bodies, 1, seconds, 0.0, seed=number)
            figures = load.drive(job)
            if figures["errors"] or figures["p50_ms"] is None:
                skipped[f"{contestant.name}, batch"] = f"statuses {figures['statuses']}"
            else:
                medians[contestant.name].append(figures["p50_ms"])
    return {name: statistics.median(runs) for name, runs in medians.items() if runs}, skipped


def our_batch(contestant: Contestant) -> tuple[str, str] | None:
    """The path of our batch endpoint and the name of its list of ids, from its OpenAPI document."""
    url = f"http://127.0.0.1:{contestant.port}/openapi.json"
    with urllib.request.urlopen(url, timeout=30) as response:
        document = json.load(response)
    for path, operations in document["paths"].items():
        if "batch" in path and "post" in operations:
            content = operations["post"]["requestBody"]["content"]
            schema = content["application/json"]["schema"]
            if "$ref" in schema:
                schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            for name, property in schema["properties"].items():
                if property.get("type") == "array":
                    return path, name
    return None


def medians(of_one: dict[int, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Per number of connections, medians over the rounds, all errors, and the rounds themselves."""

    def median(rounds: list[dict[str, Any]], figure: str) -> float | None:
        measured = [figures[figure] for figures in rounds if figures[figure] is not None]
        return statistics.median(measured) if measured else None

    return {
        str(connections): {
            **{name: median(rounds, name) for name in ("per_second", "p50_ms", "p99_ms")},
            "errors": sum(figures["errors"] for figures in rounds),
            "rounds": rounds,
        }
        for connections, rounds in of_one.items()
    }


def claim_bars(contestants: dict[str, Any]) -> list[dict[str, Any]]:
    """The claim, part by part: the bar, the measured value, whether it is met."""

    def rate(name: str) -> float:
        return float(contestants[name]["16"]["per_second"]) or float("nan")

    alone, floor_alone = contestants[OURS]["1"], contestants[FLOOR]["1"]
    return [
        bars.at_least(200, "times the plain way's requests/s", rate(OURS) / rate(PLAIN)),
        bars.at_least(
            3, "times Feast's async client's requests/s", rate(OURS) / rate(ASYNCHRONOUS)
        ),
        bars.at_least(0.5, "of the empty endpoint's requests/s", rate(OURS) / rate(FLOOR)),
        bars.at_most(
            0.6,
            "ms of p50 over the empty endpoint's, 1 connection",
            alone["p50_ms"] - floor_alone["p50_ms"],
        ),
        bars.at_most(
            3, "times its p50 is its p99, 1 connection", alone["p99_ms"] / alone["p50_ms"]
        ),
    ]


def show(result: dict[str, Any]) -> None:
    """Print the figures and whether each bar is met."""
    print(f"\n{result['claim']}\n{result['machine']}\n")
    print(f"{'':<38} {'connections':>11} {'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8} ", end="")
    print(f"{'errors':>6} {'ours is':>11}")
    for name, by_connections in result["contestants"].items():
        for connections, row in by_connections.items():
            ours = result["contestants"][OURS][connections]["per_second"]
            times = ours / row["per_second"] if row["per_second"] else float("inf")
            print(
                f"{name:<38} {connections:>11} {row['per_second']:>10,.0f} "
                f"{row['p50_ms'] or 0:>8.2f} {row['p99_ms'] or 0:>8.2f} {row['errors']:>6} "
                f"{times:>7.2f} times"
            )
    print(f"\nA batch of {result['batch']['rows']:,} users")
    for name, milliseconds in result["batch"]["median_ms"].items():
        print(f"{name:<38} {milliseconds:>10.1f} ms")
    print()
    bars.show(result["bars"])
    for name, reason in result["skipped"].items():
        print(f"skipped: {name}: {reason}")


if __name__ == "__main__":
    sys.exit(main())
