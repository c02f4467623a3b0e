"""Claim: `/scores/{id}` has the p50 of `/predict`: a stored score is as near as a new one.

`streamflow serve` with one worker, after everyone was scored; one connection, requests for random
users, in turns of both. REQUESTS=2000 per turn, ROUNDS=5, USERS=7043 by default.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import time

from bench import RESULTS, load, machine
from bench.peers import bars
from bench.peers.workplace import MONTH, streamflow, workplace
from streamflow.operations import processes

CLAIM = "/scores/{id}, one worker, one connection: p50 at most that of /predict"
OURS, PEER = "/scores/{id}", "/predict"


def main() -> None:
    """Measure, print and write the results."""
    requests = int(os.environ.get("REQUESTS", "2000"))
    rounds = int(os.environ.get("ROUNDS", "5"))
    with workplace(int(os.environ.get("USERS", "7043"))) as place:
        streamflow(place.folder, "score", "--as-of", MONTH.isoformat())
        command, port = place.ours()
        dice = random.Random(42)
        ids = [dice.choice(place.users) for _ in range(requests)]
        milliseconds: dict[str, list[float]] = {OURS: [], PEER: []}
        with processes.running([command]) as (child,):
            child.wait_until_ready()
            for _ in range(rounds):
                for name, encoded in ((OURS, _lookup), (PEER, _prediction)):
                    milliseconds[name].append(_p50([encoded(one) for one in ids], port))
    medians = {name: statistics.median(found) for name, found in milliseconds.items()}
    print(f"{CLAIM}\n{machine()}\n")
    for name, median in medians.items():
        print(f"{name:<20} {median:9.3f} ms")
    result = {
        "claim": CLAIM,
        "machine": machine(),
        "requests": requests,
        "lookup_ms": milliseconds,
        "medians": medians,
        "bars": [bars.at_most(1.0, f"times the p50 of {PEER}", medians[OURS] / medians[PEER])],
    }
    bars.show(result["bars"])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "score_lookup.json").write_text(json.dumps(result, indent=2) + "\n")


def _lookup(entity_id: str) -> bytes:
    return f"GET /scores/{entity_id} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()


def _prediction(entity_id: str) -> bytes:
    body = json.dumps({"user_id": entity_id})
    return (
        "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _p50(requests: list[bytes], port: int) -> float:
    """The median time of a request in milliseconds, one after the other."""
    connection = load.Connection(port)
    taken = []
    for request in requests:
        began = time.perf_counter()
        connection.send(request)
        while (status := connection.status()) is None:
            continue
        taken.append(time.perf_counter() - began)
        if status != "200":
            raise SystemExit(f"{request!r} is answered with {status}")
    connection.socket.close()
    return statistics.median(taken) * 1000


if __name__ == "__main__":
    sys.exit(main())
