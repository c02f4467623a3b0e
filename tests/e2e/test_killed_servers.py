"""`streamflow up`, whose servers are killed: all of it is ready again, and no prediction is lost
but those that were counted.

`STREAMFLOW_TEST_KILLS` is the number of kills (1); which server it is goes round.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http.client import HTTPException
from pathlib import Path

import psutil
import psycopg
import pytest
from tests import promoting, tiny_case
from tests.conftest import turn_off
from tests.fakes import repeating
from tests.killing import KILLS

from streamflow.bootstrap import platform
from streamflow.operations import processes
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.postgres import embedded_server
from streamflow.settings import load_settings
from streamflow.training import plots
from streamflow.use_case import Generation

PATIENCE_SECONDS = 60
KINDS = ("everything", "postgresql", "worker", "mlflow")
JANUARY = date(2024, 1, 31)
NOW = datetime(2024, 3, 1, 8, tzinfo=UTC)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="ends processes as Linux does"),
    pytest.mark.skipif("STREAMFLOW_DATABASE_URL" in os.environ, reason="it's about the embedded"),
]


@dataclass
class Up:
    """`streamflow up` of a home."""

    home: Path
    process: psutil.Process
    api: str
    mlflow: str
    console: str
    numbers: Iterator[int] = field(default_factory=itertools.count)
    answered: set[str] = field(default_factory=set)

    def child(self, word: str) -> psutil.Process:
        (found,) = (one for one in self.process.children() if word in one.cmdline())
        return found

    def victims(self, kind: str) -> list[psutil.Process]:
        if kind == "everything":
            return [one for kind in KINDS[1:] for one in self.victims(kind)]
        if kind == "postgresql":
            pid = embedded_server.server_pid(self.home)
            return [] if pid is None else [psutil.Process(pid)]
        if kind == "mlflow":
            return [self.child("mlflow")]
        workers = self.child("serve").children()
        return [one for one in workers if "spawn_main" in " ".join(one.cmdline())][:1]

    def ready(self) -> bool:
        asked = (f"{self.api}/ready", f"{self.mlflow}/health", f"{self.console}/health")
        return all(map(processes.responds, asked))

    def ask(self) -> None:
        """One prediction; what was answered is remembered."""
        request = urllib.request.Request(
            f"{self.api}/predict",
            json.dumps({"machine_id": "m-0001"}).encode(),
            {"Content-Type": "application/json", "X-Request-Id": f"asked-{next(self.numbers)}"},
        )
        # A worker that is killed may cut its answer anywhere.
        cut = suppress(OSError, HTTPException, ValueError)
        with cut, urllib.request.urlopen(request, timeout=10) as answer:
            self.answered.add(json.load(answer)["request_id"])

    def logged(self) -> set[str]:
        url = embedded_server.current_url(self.home)
        assert url is not None
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT request_id FROM streamflow.predictions").fetchall()
        return {request_id for (request_id,) in rows}

    def lost(self) -> float:
        """Rows that the API says were lost."""
        with urllib.request.urlopen(f"{self.api}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        name = "streamflow_prediction_log_dropped_rows_total"
        return sum(float(line.split()[1]) for line in lines if line.startswith(name))


def until(true: Callable[[], object]) -> float:
    """Wait until it is true; the seconds that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() < began + PATIENCE_SECONDS, "it didn't become true in time"
        time.sleep(0.05)
    return time.monotonic() - began


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def environment(home: Path, api_port: int, mlflow_port: int, console_port: int) -> dict[str, str]:
    return {
        **os.environ,
        "STREAMFLOW_HOME": str(home),
        "STREAMFLOW_USE_CASE": "tests.tiny_case",
        "STREAMFLOW_API_PORT": str(api_port),
        "STREAMFLOW_MLFLOW_PORT": str(mlflow_port),
        "STREAMFLOW_CONSOLE_PORT": str(console_port),
        "STREAMFLOW_API_WORKERS": "2",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


@pytest.fixture(scope="module")
def up(homes: Path) -> Iterator[Up]:
    home, ports = homes / "up", (free_port(), free_port(), free_port())
    settings = load_settings(home=home, use_case="tests.tiny_case")
    with pytest.MonkeyPatch.context() as patched, platform(settings) as ready:
        patched.setattr(plots, "draw", lambda *arguments: None)
        turn_off(ready.database.url, "fsync", "full_page_writes")
        tiny_case.generate(Generation(home / "months", users=300, months=1, seed=5))
        ingest(ready, home / "months" / "month_000", JANUARY, None, NOW, "test")
        apply(ready)
        version = train.train(ready, JANUARY, "logistic_regression", 1, NOW).version
        promoting.promote(ready, version, "Production", "a test", "test", NOW)
        materialize(ready, JANUARY, NOW)
    command = [sys.executable, "-m", "streamflow", "up"]
    with subprocess.Popen(command, env=environment(home, *ports), cwd=homes) as started:
        made = Up(
            home,
            psutil.Process(started.pid),
            *(f"http://127.0.0.1:{port}" for port in ports),
        )
        try:
            until(made.ready)
            yield made
        finally:
            started.send_signal(signal.SIGTERM)
            started.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_server_is_ready_again_and_no_row_is_lost_but_those_counted(
    number: int, up: Up
) -> None:
    kind = KINDS[number % len(KINDS)]
    with repeating(up.ask, pause_seconds=0.01):
        until(lambda: up.answered - up.logged())
        victims = up.victims(kind)
        assert victims
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, PATIENCE_SECONDS)
        before = len(up.answered)
        seconds = until(lambda: up.ready() and len(up.answered) > before)
    print(f"{kind}: ready again after {seconds:.1f} s")
    until(lambda: len(up.answered - up.logged()) <= up.lost())


def test_what_is_up_is_seen_in_its_own_home_alone(up: Up, homes: Path) -> None:
    def states(home: Path) -> dict[str, str]:
        ports = (int(one.split(":")[2]) for one in (up.api, up.mlflow, up.console))
        given = environment(home, *ports)
        command = [sys.executable, "-m", "streamflow", "status", "--json"]
        done = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
        return {part["name"]: part["state"] for part in json.loads(done.stdout)}

    until(up.ready)
    own, other = states(up.home), states(homes / "another home")
    names = ("PostgreSQL", "MLflow", "API", "console")
    assert [own[name] for name in names] == ["up"] * 4
    assert [other[name] for name in names] == ["asleep", *["down"] * 3]


def test_nobody_else_can_read_what_up_has_written(up: Up) -> None:
    closed = [up.home / name for name in ("logs", "locks", "mlflow", "models")]
    for folder in closed:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    for name in ("api.log", "mlflow.log", "postgres.log"):
        assert stat.S_IMODE((up.home / "logs" / name).stat().st_mode) == 0o600
