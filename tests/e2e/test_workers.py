"""`streamflow serve` with two processes behind one port, which look like one from outside."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families
from tests import tiny_case
from tests.e2e.serve import serving

from streamflow import deployment, pipeline, processes, training_run
from streamflow.bootstrap import Platform
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
    pipeline.ingest(ready, home / "months" / "month_000", JANUARY, None, KNOWN, "test")
    pipeline.apply(ready)
    trained = [training_run.train(ready, JANUARY, None, state, NOW).version for state in (1, 2)]
    promote(ready, trained[0])
    pipeline.materialize(ready, JANUARY, NOW)
    return trained


@pytest.fixture
def server(
    versions: list[int], environment: dict[str, str], settings: Settings
) -> Iterator[processes.Child]:
    with serving(settings.home, {**environment, "STREAMFLOW_API_WORKERS": "2"}) as child:
        yield child


def promote(ready: Platform, version: int) -> None:
    deployment.promote(ready, version, "Production", "a test", "test", NOW)


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


def answered(folder: Path) -> dict[int, int]:
    """How many questions each process has answered, as it wrote down for the others."""
    counts = {}
    for file in folder.glob("counter_*.db"):
        written = MmapedDict.read_all_values_from_file(str(file))
        asked = sum(value for key, value, *_ in written if '"route": "/predict"' in key)
        if asked:
            counts[int(file.stem.removeprefix("counter_"))] = int(asked)
    return counts


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
    with ExitStack() as stack:
        # A connection stays with the process that took it.
        connections: dict[int, httpx.Client] = {}
        asked = 0

        def ask(client: httpx.Client) -> tuple[int, int]:
            """The version that answered, and the process."""
            nonlocal asked
            before = answered(folder)
            answer = client.post("/predict", json=QUESTION)
            assert answer.status_code == 200
            asked += 1
            until(lambda: sum(answered(folder).values()) == asked)
            ((pid, _),) = answered(folder).items() - before.items()
            return answer.json()["model"]["version"], pid

        def another_connection() -> bool:
            client = stack.enter_context(httpx.Client(base_url=url, timeout=PATIENCE_SECONDS))
            version, pid = ask(client)
            assert version == versions[0]
            connections.setdefault(pid, client)
            return len(connections) == 2

        until(another_connection)
        assert connections.keys() <= session_of(server.pid) - {server.pid}
        assert all(ask(client) == (versions[0], pid) for pid, client in connections.items())
        for client in connections.values():
            metrics = client.get("/metrics").text
            route = {"route": "/predict", "status": "200"}
            assert counted(metrics, "streamflow_requests_total", **route) == asked
            assert counted(metrics, "streamflow_predictions_total") == asked
            assert counted(metrics, "streamflow_production_version") == versions[0]

        promote(ready, versions[1])
        for client in connections.values():
            until(lambda client=client: ask(client)[0] == versions[1])
        assert all(ask(client) == (versions[1], pid) for pid, client in connections.items())
        for client in connections.values():
            metrics = client.get("/metrics").text
            assert counted(metrics, "streamflow_production_version") == versions[1]
            assert counted(metrics, "streamflow_predictions_total") == asked

    assert len(session_of(server.pid)) >= 3
    os.kill(server.pid, signal.SIGTERM)
    until(lambda: not session_of(server.pid))
    assert not processes.answers(f"{url}/health")
    assert not folder.exists()
    assert "Traceback" not in server.command.log.read_text()
