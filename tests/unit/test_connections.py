"""What one connection may hold and for how long, by the bytes of a client that means harm.

Real sockets to an API in a process of its own, with the direct HTTP path and without.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamflow.api import limits

ROOT = Path(__file__).parents[2]
MEGABYTE = 1024 * 1024
MOST_MEGABYTES = 20  # that a connection may add to the memory of the server
LONG = bool(os.environ.get("STREAMFLOW_LONG_TESTS"))
raw = settings(
    max_examples=2000 if LONG else 15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Server:
    """The API over fakes in a process of its own."""

    def __init__(self, path: str, log: Path) -> None:
        self.log, self.looked_at = log, 0
        # Connections wait in its queue until the server is there.
        with socket.create_server(("127.0.0.1", 0)) as listening, log.open("wb") as stream:
            self.port = listening.getsockname()[1]
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.served_fakes", str(listening.fileno()), path],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
                pass_fds=[listening.fileno()],
                stderr=stream,
            )

    @contextmanager
    def connection(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield client

    def answers(self, *pieces, pause=0.0, half_close=True):
        """The responses to what is sent in pieces, until the server closes the connection."""
        with self.connection() as client:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(pause)
            if half_close:
                client.shutdown(socket.SHUT_WR)
            return answers(until_closed(client))

    def memory(self) -> float:
        """Resident memory in megabytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE

    def errors(self):
        """Lines of the log since the last call that tell of an error."""
        with self.log.open() as log:
            log.seek(self.looked_at)
            lines = list(log)
            self.looked_at = log.tell()
        return [line for line in lines if '"level":"error"' in line or "Traceback" in line]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    both = {path: Server(path, folder / path) for path in ("direct", "plain")}
    try:
        yield both
    finally:
        for server in both.values():
            server.process.terminate()
            server.process.wait(20)


@pytest.fixture(params=["direct", "plain"])
def server(request, servers):
    one = servers[request.param]
    yield one
    assert one.process.poll() is None
    assert one.errors() == []


def until_closed(client) -> bytes:
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


def answers(received):
    """Status, headers and body of each response; all bytes must belong to one."""
    found = []
    while received:
        start, end, received = received.partition(b"\r\n\r\n")
        assert end, start
        status, *lines = start.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers["content-length"])
        assert len(received) >= length
        found.append((int(status.split()[1]), headers, received[:length]))
        received = received[length:]
    return found


BODY = b'{"user_id": "ann"}'


def request(*headers, body=BODY, method=b"POST", path=b"/predict", length=True):
    lines = [b"%s %s HTTP/1.1" % (method, path), b"Host: localhost"]
    lines.append(b"Content-Type: application/json")
    lines += [b"Content-Length: %d" % len(body)] if length else []
    return b"\r\n".join([*lines, *headers, b"", b""]) + body


def chunked(*chunks, trailers=b"", path=b"/predict", ending=b"0\r\n"):
    framed = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in chunks)
    body = framed + ending + trailers + b"\r\n"
    return request(b"Transfer-Encoding: chunked", body=body, path=path, length=False)


GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADES = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
# By name a request and the status of its response.
REQUESTS = {
    "predict": (request(), 200),
    "through asgi": (request(path=b"/predict?x=1"), 200),
    "unknown": (request(body=b'{"user_id": "nobody"}'), 404),
    "invalid": (request(body=b"{"), 422),
    "batch": (request(body=b'{"user_ids": ["ann"]}', path=b"/predict/batch"), 200),
    "large": (request(body=BODY + b" " * 3000), 200),
    "too large": (request(body=b" " * (limits.LARGEST_BODY_BYTES + 9)), 413),
    "chunked": (chunked(BODY[:5], BODY[5:]), 200),
    "trailers": (chunked(BODY, trailers=b"Content-Type: text/plain\r\nx: y\r\n"), 200),
    "upgrade": (request(*UPGRADES), 200),
    "upgrade, chunked": (
        chunked(BODY).replace(b"Host:", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHost:"),
        200,
    ),
    "websocket": (
        GET.replace(b"Host:", b"Connection: Upgrade\r\nUpgrade: websocket\r\nHost:"),
        200,
    ),
    "get": (GET, 200),
    "not found": (GET.replace(b"/health", b"/nothing"), 404),
    "absolute": (GET.replace(b"/health", b"http://localhost/health"), 200),
}
# What can't be a request, and the status of the response after which the connection ends.
LAST = {
    "nothing": (b"", None),
    "half a head": (request()[:30], None),
    "malformed": (b"GET / HTP/1.1\r\n\r\n", 400),
    "http 2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "no address": (b"GET http:// HTTP/1.1\r\n\r\n", 400),
    "head too large": (GET[:-2] + b"name: value\r\n" * 6000, 431),
    "half a body": (request(body=BODY)[:-5], 400),
    "half a body, through asgi": (request(path=b"/predict?x=1")[:-5], 400),
    "malformed chunk": (chunked(BODY, ending=b"zz\r\n"), 400),
    "trailers too large": (chunked(BODY, trailers=b"name: value\r\n" * 6000), 431),
    "tunnel": (b"CONNECT localhost:80 HTTP/1.1\r\n\r\n" + GET, 405),
}


@st.composite
def conversations(draw):
    """Requests one after another, in pieces cut anywhere, and the statuses of the responses."""
    names = draw(st.lists(st.sampled_from(sorted(REQUESTS)), max_size=40))
    last, status = LAST[draw(st.sampled_from(sorted(LAST)))]
    sent = b"".join(REQUESTS[name][0] for name in names) + last
    cuts = sorted(draw(st.sets(st.integers(0, len(sent)), max_size=4)))
    pieces = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    statuses = [REQUESTS[name][1] for name in names] + ([status] if status else [])
    return [piece for piece in pieces if piece], statuses, draw(st.sampled_from([0.0, 0.002]))


@raw
@given(conversations())
def test_each_request_has_its_response_in_order_however_it_arrives(server, conversation):
    pieces, statuses, pause = conversation
    found = server.answers(*pieces, pause=pause)
    assert [status for status, _, _ in found] == statuses
    for status, headers, body in found:
        assert headers["content-type"].startswith(
            "application/json" if status == 200 else "application/problem+json"
        )
        assert status == 200 or json.loads(body)["status"] == status


@pytest.mark.parametrize(
    "last", sorted(name for name in LAST if "half" not in name and name != "nothing")
)
def test_what_is_no_request_is_refused_after_the_responses_under_way(server, last):
    sent, status = LAST[last]
    found = server.answers(request() + request(path=b"/predict?x=1") + sent, half_close=False)
    assert [one for one, _, _ in found] == [200, 200, status]
    assert [headers.get("connection") for _, headers, _ in found] == [None, None, "close"]
    problem = json.loads(found[-1][2])
    assert problem["request_id"] == found[-1][1]["x-request-id"]


@raw
@given(st.data())
def test_a_request_with_wrong_bytes_in_it_has_a_problem_or_none_and_harms_nobody(server, data):
    sent = bytearray(
        b"".join(REQUESTS[data.draw(st.sampled_from(sorted(REQUESTS)))][0] for _ in "12")
    )
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, min(len(sent) - 1, 400)))
        wrong = data.draw(
            st.one_of(st.sampled_from([b"", b"\r\n", b"\n", b"\0", b" "]), st.binary(max_size=3))
        )
        sent[at : at + data.draw(st.integers(0, 3))] = wrong
    for status, headers, _ in server.answers(bytes(sent)):
        assert status in (200, 400, 404, 405, 408, 413, 421, 422, 431)
        assert status == 200 or headers["content-type"] == "application/problem+json"
    assert [status for status, _, _ in server.answers(request())] == [200]


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_a_client_that_half_closes_has_its_response(server, name):
    sent, status = REQUESTS[name]
    assert [found for found, _, _ in server.answers(sent)] == [status]


@pytest.mark.parametrize("pause", [0.0, 0.02])
@pytest.mark.parametrize("method", [b"POST", b"GET"])
def test_the_body_of_a_request_to_upgrade_is_no_second_request(server, method, pause):
    head = request(*UPGRADES, body=GET, method=method)[: -len(GET)]
    found = server.answers(head, GET, request(), pause=pause)
    assert [status for status, _, _ in found] == [422 if method == b"POST" else 405, 200]


# Requests without end, each connection of which may be kept busy but not be made to keep it all.
FLOODS = {
    "requests": GET.replace(b"/health", b"/"),
    "the shortest requests": b"GET /\r\n\r\n",
    "predictions": request(),
    "bodies": request(body=BODY + b" " * 60_000),
    "headers": GET[:-2] + b"a:\r\n" * 10_000 + b"\r\n",
    "chunks": chunked(*[b" "] * 10_000),
    "upgrades": request(*UPGRADES),
    "line ends": b"\r\n",
}


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
@pytest.mark.parametrize("reading", [False, True], ids=["not reading", "reading"])
@pytest.mark.parametrize("flood", sorted(FLOODS))
def test_a_connection_cannot_fill_the_memory(server, flood, reading):
    server.answers(request() * 50)
    sent = memoryview(FLOODS[flood] * (12_000_000 // len(FLOODS[flood])))
    before, most = server.memory(), 0.0
    with server.connection() as client:
        client.settimeout(0.01)
        end = time.monotonic() + (20 if LONG else 0.2)
        while sent and time.monotonic() < end:
            with suppress(TimeoutError, ConnectionError):
                sent = sent[client.send(sent) :]
            with suppress(TimeoutError, ConnectionError):
                if reading:
                    client.recv(MEGABYTE)
            most = max(most, server.memory())
        assert [status for status, _, _ in server.answers(request())] == [200]
    assert most - before < MOST_MEGABYTES


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_a_client_that_leaves_leaves_no_error(server, reset):
    slow = request(path=b"/predict/batch", body=b'{"user_ids": [%s"ann"]}' % (b'"ann",' * 900))
    sent = [request(), request(path=b"/predict?x=1"), slow, GET, request()[:-3], request()[:30]]
    for first in sent[:4]:
        for second in sent:
            with server.connection() as client:
                if reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(first + second)
                time.sleep(0.001)
    assert [status for status, _, _ in server.answers(request())] == [200]


def latencies(server, while_running):
    """Seconds of predictions over one connection, sorted, for as long as that is so."""
    found = []
    with server.connection() as client:
        while while_running():
            began = time.perf_counter()
            client.sendall(request())
            received = b""
            while not received.endswith(b"}"):
                received += client.recv(65536)
            found.append(time.perf_counter() - began)
            assert received.startswith(b"HTTP/1.1 200 ")
            time.sleep(0.002)
    return sorted(found)


def for_seconds(seconds):
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def p99(found):
    return found[len(found) * 99 // 100]


@pytest.mark.skipif(not LONG, reason="takes a minute: STREAMFLOW_LONG_TESTS=1")
def test_two_thousand_half_requests_are_cut_off_in_time_and_nobody_waits_for_them(server):
    quiet = latencies(server, for_seconds(10))
    halves = {"head": request()[:30], "body": request()[:-3]}
    ends = {"head": limits.HEAD_SECONDS, "body": limits.BODY_SECONDS}
    took = {"head": [], "body": []}

    def hold():
        with ExitStack() as stack, selectors.DefaultSelector() as selector:
            for number in range(2000):
                part = ("head", "body")[number % 2]
                client = stack.enter_context(server.connection())
                client.sendall(halves[part])
                selector.register(client, selectors.EVENT_READ, (part, time.monotonic()))
            while selector.get_map():
                for key, _ in selector.select():
                    part, began = key.data
                    assert key.fileobj.recv(65536).startswith(b"HTTP/1.1 408 ")
                    took[part].append(time.monotonic() - began)
                    selector.unregister(key.fileobj)

    with ThreadPoolExecutor() as pool:
        holding = pool.submit(hold)
        busy = latencies(server, lambda: not holding.done())
        holding.result()
    for part, seconds in took.items():
        assert len(seconds) == 1000
        assert ends[part] - 1 < min(seconds) <= max(seconds) < ends[part] + 3
    print(f"p99 {1000 * p99(quiet):.1f} ms before, {1000 * p99(busy):.1f} ms meanwhile")
    assert p99(busy) < max(2 * p99(quiet), 0.01)
