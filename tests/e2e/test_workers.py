"""`streamflow serve` with two processes behind one port, which look like one from outside."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests import promoting, tiny_case
from tests.e2e.serve import serving

from streamflow.operations import processes
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.settings import Settings
from streamflow.use_case import Generation

PATIENCE_SECONDS = 60
JANUARY = date(2024, 1, 31)
KNOWN = datetime(2024, 2, 1, 8, tzinfo=UTC)
NOW = datetime(2024, 3, 1, 8, tzinfo=UTC)
QUESTION = {"machine_id": "m-0001"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"use_case": "tests.tiny_case"})


@pytest.fixture
def versions(ready: Platform) -> list[int]:
    """Two versions of a model, the first of them in Production, and a month online."""
    home = ready.settings.home
    tiny_case.generate(Generation(home / "months", users=300, months=1, seed=5))
    ingest(ready, home / "months" / "month_000", JANUARY, None, KNOWN, "test")
    apply(ready)
    trained = [train.train(ready, JANUARY, None, state, NOW).version for state in (1, 2)]
    promote(ready, trained[0])
    materialize(ready, JANUARY, NOW)
    return trained


@pytest.fixture
def server(
    versions: list[int], environment: dict[str, str], settings: Settings
) -> Iterator[processes.Child]:
    with serving(settings.home, {**environment, "STREAMFLOW_API_WORKERS": "2"}) as child:
        yield child


def promote(ready: Platform, version: int) -> None:
    promoting.promote(ready, version, "Production", "a test", "test", NOW)


def until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline, "it didn't become true in time"
        time.sleep(0.02)
    return found


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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_workers_tell_the_same_follow_the_same_and_end_together(
    ready: Platform, versions: list[int], server: processes.Child
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

    assert len(session_of(server.pid)) >= 3
    os.kill(server.pid, signal.SIGTERM)
    until(lambda: not session_of(server.pid))
    assert not processes.responds(f"{url}/health")
    assert not folder.exists()
    assert "Traceback" not in server.command.log.read_text()
