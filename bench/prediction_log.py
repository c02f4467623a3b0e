"""Claim: keeping a receipt for every prediction takes less than 10 % of the API's throughput.

`streamflow serve` with one worker, with the prediction log on and off: both run at the same time
over the same database, and are asked in turns. SECONDS=3 per turn, ROUNDS=5, USERS=7043 by default.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from dataclasses import replace
from typing import Any

from bench import RESULTS, load, machine
from bench.peers import bars
from bench.peers.contestants import Contestant, ours
from bench.peers.workplace import Workplace, workplace
from streamflow.operations import processes
from streamflow.postgres.database import Database

CLAIM = (
    "/predict, one worker: with the prediction log on, at least 90 % of the requests per second "
    "that are answered with it off; no row is dropped"
)
ON, OFF = "prediction log on", "prediction log off"
CONNECTIONS = (1, 16)


def main() -> None:
    seconds = float(os.environ.get("SECONDS", "3"))
    rounds = int(os.environ.get("ROUNDS", "5"))
    with workplace(int(os.environ.get("USERS", "7043"))) as place:
        contestants = [_ours(place, ON, "on"), _ours(place, OFF, "off")]
        with processes.running([contestant.command for contestant in contestants]) as children:
            for child in children:
                child.wait_until_ready()
            for contestant in contestants:
                contestant.ask(contestant.bodies[0])
            turns, answered = in_turns(contestants, seconds, rounds)
        # Its end is the end of the log: all that was answered is there.
        with Database(place.url) as database, database.connection() as connection:
            kept = connection.execute(
                "SELECT count(*) AS rows, "
                "(SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits "
                "WHERE inhparent = 'streamflow.predictions'::regclass)::bigint AS bytes "
                "FROM streamflow.predictions",
            ).fetchall()[0]
    medians = {
        name: {str(connections): _median(figures) for connections, figures in of_one.items()}
        for name, of_one in turns.items()
    }
    ratios = {
        connections: medians[ON][connections]["per_second"]
        / medians[OFF][connections]["per_second"]
        for connections in medians[ON]
    }
    result: dict[str, Any] = {
        "claim": CLAIM,
        "machine": machine(),
        "seconds": seconds,
        "rounds": rounds,
        "with_and_without": medians,
        "answered": answered,
        "rows": kept["rows"],
        "bytes_per_row": kept["bytes"] / max(kept["rows"], 1),
        "bars": [
            bars.at_least(0.9, f"of the requests/s without the log, {connections} connection(s)", r)
            for connections, r in ratios.items()
        ]
        + [bars.at_most(0, "answers that aren't in the log", max(0, answered - kept["rows"]))],
    }
    show(result)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "prediction_log.json").write_text(json.dumps(result, indent=2) + "\n")


def _ours(place: Workplace, name: str, setting: str) -> Contestant:
    contestant = ours(place)
    command = contestant.command
    environment = {**command.environment, "STREAMFLOW_PREDICTION_LOG": setting}
    log = command.log.with_name(f"ours-{setting}.log")
    return replace(
        contestant, command=replace(command, name=name, environment=environment, log=log)
    )


def in_turns(
    contestants: list[Contestant], seconds: float, rounds: int
) -> tuple[dict[str, dict[int, list[dict[str, Any]]]], int]:
    """The figures of each turn by contestant and connections; how many were answered and logged."""
    turns: dict[str, dict[int, list[dict[str, Any]]]] = {
        contestant.name: {connections: [] for connections in CONNECTIONS}
        for contestant in contestants
    }
    answered = 0
    for number in range(-1, rounds):  # the first one warms up, and doesn't count
        for connections in CONNECTIONS:
            # Forth and back, so that nobody always comes after the other.
            for contestant in contestants if number % 2 == 0 else reversed(contestants):
                job = load.Job(
                    contestant.port,
                    contestant.path,
                    contestant.bodies,
                    connections,
                    seconds if number >= 0 else min(seconds, 1.0),
                    seed=number + 1,
                )
                figures = load.drive(job)
                if contestant.name == ON:
                    answered += figures["statuses"].get("200", 0)
                if number >= 0:
                    del figures["windows"], figures["changes"], figures["began_at"]
                    turns[contestant.name][connections].append(figures)
        print(f"round {number + 1} of {rounds}", flush=True)
    return turns, answered


def _median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    figures = ("per_second", "p50_ms", "p99_ms")
    medians = {name: statistics.median(one[name] for one in rounds) for name in figures}
    return {**medians, "errors": sum(one["errors"] for one in rounds), "rounds": rounds}


def show(result: dict[str, Any]) -> None:
    print(f"\n{result['claim']}\n{result['machine']}\n")
    print(f"{'':<20} {'connections':>11} {'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8}")
    for name, by_connections in result["with_and_without"].items():
        for connections, row in by_connections.items():
            print(
                f"{name:<20} {connections:>11} {row['per_second']:>10,.0f} {row['p50_ms']:>8.2f} "
                f"{row['p99_ms']:>8.2f}"
            )
    print(f"\n{result['rows']:,} rows of {result['bytes_per_row']:.0f} bytes, index included\n")
    bars.show(result["bars"])


if __name__ == "__main__":
    sys.exit(main())
