"""Claim: with a version in Staging that scores every request too, the median latency is within 5 %
of that without it, and at least 75 % of the requests per second are answered.

`streamflow serve` with one worker, with STREAMFLOW_MIRROR=100 and 0: both run at the same time over
the same database, and get requests in turn. SECONDS=3 per turn, ROUNDS=5, USERS=7043 by default.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from bench import RESULTS, machine
from bench.peers import bars
from bench.peers.contestants import Contestant, ours_with
from bench.peers.workplace import MONTH, Workplace, streamflow, workplace
from bench.prediction_log import in_turns, median_of_rounds, show
from streamflow.operations import processes
from streamflow.postgres.database import Database

CLAIM = (
    "/predict, one worker: with a version in Staging that scores every request too, p50 within 5 % "
    "and at least 75 % of the requests per second of without it"
)
WITH, WITHOUT = "shadow scores of all", "no shadow scores"


def main() -> None:
    """Measure, print and write the results."""
    seconds = float(os.environ.get("SECONDS", "3"))
    rounds = int(os.environ.get("ROUNDS", "5"))
    with workplace(int(os.environ.get("USERS", "7043"))) as place:
        _stage_another(place)
        contestants = [
            ours_with(place, name, "STREAMFLOW_MIRROR", percent)
            for name, percent in ((WITH, "100"), (WITHOUT, "0"))
        ]
        with processes.running([contestant.command for contestant in contestants]) as children:
            for child in children:
                child.wait_until_ready()
            for contestant in contestants:
                _wait_for_staging(contestant)
                contestant.predict(contestant.bodies[0])
            turns, answered = in_turns(contestants, seconds, rounds, counted=WITH)
            dropped = contestants[0].get("/ready")["challenger"]["dropped"]
        # When the server has ended, all scores have been written.
        with Database(place.url) as database, database.connection() as connection:
            log = connection.execute(
                "SELECT count(*) AS rows, "
                "(SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits "
                "WHERE inhparent = 'streamflow.shadow_scores'::regclass)::bigint AS bytes "
                "FROM streamflow.shadow_scores",
            ).fetchall()[0]
    medians = {
        name: {str(connections): median_of_rounds(of) for connections, of in of_one.items()}
        for name, of_one in turns.items()
    }
    both, alone = medians[WITH], medians[WITHOUT]
    result: dict[str, Any] = {
        "claim": CLAIM,
        "machine": machine(),
        "seconds": seconds,
        "rounds": rounds,
        "with_and_without": medians,
        "answered": answered,
        "dropped": dropped,
        "rows": log["rows"],
        "bytes_per_row": log["bytes"] / max(log["rows"], 1),
        "bars": [
            bars.at_most(
                1.05,
                "times the p50 without shadow scores, 1 connection",
                both["1"]["p50_ms"] / alone["1"]["p50_ms"],
            ),
            bars.at_least(
                0.75,
                "of the requests/s without shadow scores, 16 connections",
                both["16"]["per_second"] / alone["16"]["per_second"],
            ),
            bars.at_least(0.95, "of the answers are scored too", log["rows"] / max(answered, 1)),
        ],
    }
    show(result)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "shadow.json").write_text(json.dumps(result, indent=2) + "\n")


def _stage_another(place: Workplace) -> None:
    """Train a second version, and bring it into Staging."""
    trained = streamflow(place.folder, "train", "--as-of", MONTH.isoformat(), "--random-state", "7")
    version = str(trained["version"])
    streamflow(place.folder, "promote", version, "--to", "staging", "--why", "bench")


def _wait_for_staging(contestant: Contestant) -> None:
    """Until the version in Staging is loaded."""
    deadline = time.monotonic() + 60
    while "run_id" not in contestant.get("/ready").get("challenger", {}):
        if time.monotonic() > deadline:
            raise SystemExit(f"{contestant.name} doesn't load the version in Staging")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
