"""`streamflow serve` with two processes behind one port, which look like one from outside."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests import promoting
from tests.e2e.serve import serving
from tests.e2e.two_versions import NOW, PATIENCE_SECONDS, two_versions, until
from tests.event_receiver import SECRET, Receiver, receiving

from streamflow.operations import processes
from streamflow.platform import Platform
from streamflow.settings import Settings

QUESTION = {"machine_id": "m-0001"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"use_case": "tests.tiny_case"})


@pytest.fixture
def versions(ready: Platform) -> list[int]:
    """Two versions of a model, the first of them in Production, and a month online."""
    return two_versions(ready, promoting.promote)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as listening:
        yield listening


@pytest.fixture
def server(
    versions: list[int], environment: dict[str, str], settings: Settings, receiver: Receiver
) -> Iterator[processes.Child]:
    more = {
        "STREAMFLOW_API_WORKERS": "2",
        "STREAMFLOW_WEBHOOK_URL": receiver.url,
        "STREAMFLOW_WEBHOOK_SECRET": SECRET.decode(),
    }
    with serving(settings.home, {**environment, **more}) as child:
        yield child


def promote(ready: Platform, version: int) -> None:
    promoting.promote(ready, version, "Production", "a test", "test", NOW)


def metrics_folder(server: processes.Child) -> Path:
    """Where the server's processes write for each other, as their environment says."""
    # Not the first of them: what was in these tests' own environment is in its.
    for pid in session_of(server.pid) - {server.pid}:
        environ = Path(f"/proc/{pid}/environ").read_text().split("\0")
        for variable in environ:
            if variable.startswith("PROMETHEUS_MULTIPROC_DIR="):
                return Path(variable.partition("=")[2])
    raise AssertionError("no process has such a folder")


def process_of(answer: httpx.Response, server: processes.Child) -> int:
    """The process that holds the server's end of the connection the answer came by."""
    port = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
    for pid in session_of(server.pid):
        held = psutil.Process(pid).net_connections("tcp")
        if any(connection.raddr and connection.raddr.port == port for connection in held):
            return pid
    raise AssertionError(f"nobody holds the connection from port {port}")


def counted(metrics: str, name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def session_of(pid: int) -> set[int]:
    """The processes that run in the session of `pid`."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        if int(session) == pid and state != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_workers_tell_the_same_follow_the_same_send_events_and_end_together(
    ready: Platform, versions: list[int], server: processes.Child, receiver: Receiver
) -> None:
    folder, url = metrics_folder(server), server.command.ready_url.removesuffix("/ready")
    asked = 0

    def ask() -> tuple[int, int]:
        """The process that answered, and the version it named."""
        nonlocal asked
        # A new connection for each question: whichever process takes it answers.
        with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as client:
            answer = client.post("/predict", json=QUESTION)
            assert answer.status_code == 200
            asked += 1
            return process_of(answer, server), answer.json()["model"]["version"]

    def tells_of(version: int) -> int | None:
        """The process whose metrics name that version and everything that was asked."""
        with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as client:
            answer = client.get("/metrics")
            route = {"route": "/predict", "status": "200"}
            right = (
                counted(answer.text, "streamflow_requests_total", **route) == asked
                and counted(answer.text, "streamflow_predictions_total") == asked
                and counted(answer.text, "streamflow_production_version") == version
            )
            return process_of(answer, server) if right else None

    def both_answer(version: int) -> set[int]:
        answers: dict[int, int] = {}

        def both() -> bool:
            answers.update([ask()])
            return list(answers.values()) == [version, version]

        until(both)
        return set(answers)

    def both_tell_of(version: int) -> set[int | None]:
        telling: set[int | None] = set()
        until(lambda: telling.add(tells_of(version)) or len(telling - {None}) == 2)
        return telling - {None}

    workers = both_answer(versions[0])
    assert workers <= session_of(server.pid) - {server.pid}
    assert both_tell_of(versions[0]) == workers

    promote(ready, versions[1])
    assert both_answer(versions[1]) == workers
    assert both_tell_of(versions[1]) == workers

    # By either of them, in their order. An event may come twice, with the same id.
    until(lambda: versions[1] in {one["data"]["version"] for one in receiver.got})
    events = {one["id"]: one["data"] for one in receiver.got}
    assert [(one["kind"], one["version"]) for one in events.values()] == [
        ("promoted", versions[0]),
        ("promoted", versions[1]),
    ]
    assert receiver.badly_signed == 0

    assert len(session_of(server.pid)) >= 3
    os.kill(server.pid, signal.SIGTERM)
    until(lambda: not session_of(server.pid))
    assert not processes.responds(f"{url}/health")
    assert not folder.exists()
    assert "Traceback" not in server.command.log.read_text()
