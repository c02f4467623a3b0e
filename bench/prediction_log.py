"""Claim: writing a receipt for every prediction takes less than 10 % of the API's throughput.

`streamflow serve` with one worker, with the prediction log on and off: both run at the same time
over the same database, and get requests in turn. SECONDS=3 per turn, ROUNDS=5, USERS=7043 by
default.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from typing import Any

from bench import RESULTS, load, machine
from bench.peers import bars
from bench.peers.contestants import Contestant, ours_with
from bench.peers.workplace import workplace
from streamflow.operations import processes
from streamflow.postgres.database import Database

CLAIM = (
    "/predict, one worker: with the prediction log on, at least 90 % of the requests per second "
    "that are answered with it off; no row is dropped"
)
ON, OFF = "prediction log on", "prediction log off"
CONNECTIONS = (1, 16)


def main() -> None:
    """Measure, print and write the results."""
    seconds = float(os.environ.get("SECONDS", "3"))
    rounds = int(os.environ.get("ROUNDS", "5"))
    with workplace(int(os.environ.get("USERS", "7043"))) as place:
        contestants = [
            ours_with(place, name, "STREAMFLOW_PREDICTION_LOG", setting)
            for name, setting in ((ON, "on"), (OFF, "off"))
        ]
        with processes.running([contestant.command for contestant in contestants]) as children:
            for child in children:
                child.wait_until_ready()
            for contestant in contestants:
                contestant.predict(contestant.bodies[0])
            turns, predictions = in_turns(contestants, seconds, rounds)
        # When the server has ended, the log has been written completely.
        with Database(place.url) as database, database.connection() as connection:
            log = connection.execute(
                "SELECT count(*) AS rows, "
                "(SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits "
                "WHERE inhparent = 'streamflow.predictions'::regclass)::bigint AS bytes "
                "FROM streamflow.predictions",
            ).fetchall()[0]
    medians = {
        name: {
            str(connections): median_of_rounds(figures) for connections, figures in of_one.items()
        }
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
        "answered": predictions,
        "rows": log["rows"],
        "bytes_per_row": log["bytes"] / max(log["rows"], 1),
        "bars": [
            bars.at_least(0.9, f"of the requests/s without the log, {connections} connection(s)", r)
            for connections, r in ratios.items()
        ]
        + [bars.at_most(0, "answers that aren't in the log", max(0, predictions - log["rows"]))],
    }
    show(result)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "prediction_log.json").write_text(json.dumps(result, indent=2) + "\n")


def in_turns(
    contestants: list[Contestant], seconds: float, rounds: int, counted: str = ON
) -> tuple[dict[str, dict[int, list[dict[str, Any]]]], int]:
    """Each turn's figures by contestant and connections; how many predictions `counted` gave."""
    turns: dict[str, dict[int, list[dict[str, Any]]]] = {
        contestant.name: {connections: [] for connections in CONNECTIONS}
        for contestant in contestants
    }
    predictions = 0
    for number in range(-1, rounds):  # the first round warms up and isn't counted
        for connections in CONNECTIONS:
            # The order alternates, so that none always comes second.
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
                if contestant.name == counted:
                    predictions += figures["statuses"].get("200", 0)
                if number >= 0:
                    del figures["windows"], figures["changes"], figures["began_at"]
                    turns[contestant.name][connections].append(figures)
        print(f"round {number + 1} of {rounds}", flush=True)
    return turns, predictions


def median_of_rounds(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians of the rounds' figures, all errors, and the rounds themselves."""
    names = ("per_second", "p50_ms", "p99_ms")
    medians = {name: statistics.median(figures[name] for figures in rounds) for name in names}
    return {**medians, "errors": sum(figures["errors"] for figures in rounds), "rounds": rounds}


def show(result: dict[str, Any]) -> None:
    """Print the figures and whether each bar is met."""
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
