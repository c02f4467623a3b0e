"""Claim: the load generator doesn't limit the other benchmarks; it can send far more requests.

A closed loop of HTTP/1.1 requests over keep-alive raw sockets, in a process of its own: requests
are encoded beforehand, of a response only status and length are parsed. Run by itself, it measures
how many requests a second it gets through to a process with a constant response.
"""

from __future__ import annotations

import contextlib
import gc
import json
import random
import selectors
import socket
import subprocess
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

DRAIN_SECONDS = 15.0
MOST_CHANGES = 10_000
BODY = b'{"prediction":0}'
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)


@dataclass(frozen=True)
class Job:
    """POST `bodies` in random order to a port of this machine over some connections.

    Responses of the first `warm_up` seconds aren't counted. The `seconds` after that are reported
    as a whole and in equal `windows`.
    """

    port: int
    path: str
    bodies: Sequence[str]
    connections: int
    seconds: float
    warm_up: float = 0.3
    windows: int = 1
    seed: int = 42


@contextlib.contextmanager
def running(job: Job) -> Iterator[subprocess.Popen[str]]:
    """Run the job in a child process, which ends with the block; for `figures_of`."""
    process = subprocess.Popen(
        [sys.executable, __file__, "job"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(job)))
        process.stdin.close()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def figures_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the job's figures, which `measure` returns."""
    assert process.stdout is not None
    figures: dict[str, Any] = json.load(process.stdout)
    return figures


def drive(job: Job) -> dict[str, Any]:
    """Start the job and wait for its figures."""
    with running(job) as process:
        return figures_of(process)


class Connection:
    """A socket with one open request."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.sent_at = 0

    def send(self, request: bytes) -> None:
        """Send a request, of which `status` reads the response."""
        self.received = b""
        self.sent_at = time.monotonic_ns()
        self.socket.sendall(request)

    def status(self) -> str | None:
        """The response's status, `closed` if the connection ended, or None if it isn't complete."""
        try:
            received = self.socket.recv(262_144)
        except OSError:
            return "closed"
        if not received:
            return "closed"
        self.received += received
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self.received[:end].lower()
        start = head.find(b"content-length:")
        if start < 0:
            raise ValueError(f"a response without a length: {head!r}")
        length = int(head[start + 15 :].split(b"\r\n", 1)[0])
        return head[9:12].decode() if len(self.received) >= end + 4 + length else None


class Outcomes:
    """Statuses and latencies of the job's requests, by window."""

    def __init__(self, job: Job) -> None:
        self.begin = time.monotonic_ns() + int(job.warm_up * 1e9)
        self.window = int(job.seconds / job.windows * 1e9)
        self.latencies = [array("Q") for _ in range(job.windows)]
        self.statuses: Counter[str] = Counter()
        # The times at which the status changed, which show an outage.
        self.changes: list[tuple[float, str]] = []
        self.last = ""
        self.last_success = self.begin
        self.longest_pause = 0

    def add(self, status: str, sent_at: int, now: int) -> None:
        """Count a response; times are of the monotonic clock, in nanoseconds."""
        number = (now - self.begin) // self.window
        if not 0 <= number < len(self.latencies):
            return
        self.statuses[status] += 1
        if status == "200":
            self.latencies[number].append(now - sent_at)
            self.longest_pause = max(self.longest_pause, now - self.last_success)
            self.last_success = now
        if status != self.last and len(self.changes) < MOST_CHANGES:
            self.changes.append((now / 1e9, status))
            self.last = status


def measure(job: Job) -> dict[str, Any]:
    """Requests per second with status 200, their latency, all other statuses, and the generator's
    own processor share."""
    requests = [_request(job.path, body) for body in job.bodies]
    random.Random(job.seed).shuffle(requests)
    supply = _endless(requests)
    selector = selectors.DefaultSelector()
    outcomes = Outcomes(job)
    end = outcomes.begin + int(job.seconds * 1e9)
    gc.disable()
    open_requests = 0
    for _ in range(job.connections):
        open_requests += _connect_and_send(selector, job.port, supply, end, outcomes)
    started = time.monotonic()
    worked = time.process_time()
    while open_requests and time.monotonic_ns() < end + DRAIN_SECONDS * 1e9:
        for key, _ in selector.select(timeout=1.0):
            connection: Connection = key.data
            status = connection.status()
            if status is None:
                continue
            now = time.monotonic_ns()
            outcomes.add(status, connection.sent_at, now)
            open_requests -= 1
            if status == "closed":
                selector.unregister(connection.socket)
                connection.socket.close()
                open_requests += _connect_and_send(selector, job.port, supply, end, outcomes)
            elif now < end:
                # If the server closes the connection here, reading the response reports it.
                with contextlib.suppress(OSError):
                    connection.send(next(supply))
                open_requests += 1
    share = (time.process_time() - worked) / (time.monotonic() - started)
    return _figures(job, outcomes, unanswered=open_requests, processor_share=share)


def _connect_and_send(
    selector: selectors.BaseSelector,
    port: int,
    supply: Iterator[bytes],
    end: int,
    outcomes: Outcomes,
) -> int:
    """Open a connection and send a request; returns 1. A server that is down is tried until the
    job ends; then 0."""
    while time.monotonic_ns() < end:
        sent_at = time.monotonic_ns()
        try:
            connection = Connection(port)
            connection.send(next(supply))
        except OSError:
            outcomes.add("refused", sent_at, time.monotonic_ns())
            time.sleep(0.01)
            continue
        connection.socket.setblocking(False)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        return 1
    return 0


def _figures(
    job: Job, outcomes: Outcomes, unanswered: int, processor_share: float
) -> dict[str, Any]:
    pooled = sorted(latency for window in outcomes.latencies for latency in window)
    return {
        "per_second": len(pooled) / job.seconds,
        **_summary(pooled),
        "errors": sum(outcomes.statuses.values()) - outcomes.statuses["200"] + unanswered,
        "statuses": dict(outcomes.statuses) | ({"unanswered": unanswered} if unanswered else {}),
        "generator_processor_share": processor_share,
        "windows": [_summary(sorted(window)) for window in outcomes.latencies],
        "began_at": outcomes.begin / 1e9,
        "changes": outcomes.changes,
        "longest_pause_seconds": outcomes.longest_pause / 1e9,
    }


def _summary(latencies: Sequence[int]) -> dict[str, Any]:
    def percentile(share: float) -> float | None:
        if not latencies:
            return None
        return latencies[min(len(latencies) - 1, int(share * len(latencies)))] / 1e6

    return {"answers": len(latencies), "p50_ms": percentile(0.5), "p99_ms": percentile(0.99)}


def _request(path: str, body: str) -> bytes:
    content = body.encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    ).encode() + content


def _endless(requests: Sequence[bytes]) -> Iterator[bytes]:
    while True:
        yield from requests


def serve_constant() -> None:
    """A server as fast as Python allows: the same bytes for each request."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                accepted, _ = listener.accept()
                selector.register(accepted, selectors.EVENT_READ, accepted)
            elif key.data.recv(65_536):
                key.data.sendall(RESPONSE)
            else:
                selector.unregister(key.data)
                key.data.close()


def main() -> None:
    """Measure the generator itself, print and write the results."""
    from bench import RESULTS, machine

    arguments = [sys.executable, __file__, "serve"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            figures = {
                str(connections): drive(Job(port, "/", [BODY.decode()], connections, 2.0))
                for connections in (1, 4, 16)
            }
        finally:
            server.kill()
    claim = "The load generator against a process that answers anything with the same bytes"
    print(f"{claim}\n{machine()}\n")
    for connections, row in figures.items():
        del row["windows"], row["changes"]
        print(f"{connections:>3} connections {row['per_second']:>8,.0f} requests/s")
    RESULTS.mkdir(exist_ok=True)
    result = {"claim": claim, "machine": machine(), "connections": figures}
    (RESULTS / "load.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["job"]:
            json.dump(measure(Job(**json.load(sys.stdin))), sys.stdout)
        case ["serve"]:
            serve_constant()
        case _:
            main()
