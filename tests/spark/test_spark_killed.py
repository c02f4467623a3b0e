"""The commands on a standalone cluster, each with a driver of its own; drivers and workers are
killed while a join, or a scoring, is under way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.spark.cluster import Cluster, Driver
from tests.statements import execute

from streamflow.operations import processes
from streamflow.postgres.database import Database
from streamflow.settings import Settings

pytestmark = pytest.mark.skipif(
    "STREAMFLOW_LONG_TESTS" not in os.environ, reason="STREAMFLOW_LONG_TESTS=1"
)
JANUARY, FEBRUARY = "2024-01-31", "2024-02-29"
PATIENCE_SECONDS = 600


@pytest.fixture
def driver() -> Driver:
    return Driver(processes.next_free("127.0.0.1", 24_000))


@pytest.fixture
def on_spark(cluster: Cluster, driver: Driver) -> dict[str, str]:
    return {
        **driver.environment,
        "STREAMFLOW_ENGINE": "spark",
        "STREAMFLOW_SPARK_REMOTE": cluster.url,
    }


@pytest.fixture
def server(cluster: Cluster) -> Iterator[str]:
    """The URL of a server of Spark Connect, which has a driver on the cluster."""
    yield cluster.start_connect_server(processes.next_free("127.0.0.1", 24_200))
    cluster.kill("server")


@contextmanager
def running(
    command: tuple[str, ...], environment: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[str]]:
    """The command, which is killed with its driver if it is still there when the block ends."""
    with (
        (folder / "said").open("w") as said,
        subprocess.Popen(
            [sys.executable, "-m", "streamflow", *command, "--json"],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def until(found: Callable[[], str | None], process: subprocess.Popen[str]) -> str:
    """What is found at last. OSError is that the driver doesn't answer yet."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        assert process.poll() is None, "the command ended by itself"
        assert time.monotonic() < end
        with suppress(OSError):
            if (one := found()) is not None:
                return one
        time.sleep(0.02)


def told(process: subprocess.Popen[str], folder: Path) -> Any:
    """What the command said at its end."""
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, f"{process.args}: {said}\n{(folder / 'said').read_text()}"
    return json.loads(said)


Done = Callable[..., Any]


@pytest.fixture
def done(environment: dict[str, str], tmp_path: Path) -> Done:
    """Runs a command, which must end well, and returns what it says."""

    def run(*command: str, **engine: str) -> Any:
        with running(command, {**environment, **engine}, tmp_path) as process:
            return told(process, tmp_path)

    return run


def test_drivers_and_workers_that_are_killed_change_nothing(
    cluster: Cluster,
    driver: Driver,
    on_spark: dict[str, str],
    environment: dict[str, str],
    done: Done,
    settings: Settings,
    tmp_path: Path,
) -> None:
    def started(command: tuple[str, ...]) -> Any:
        return running(command, {**environment, **on_spark}, tmp_path)

    done("generate", "data", "--users", "200", "--months", "2")
    for number, as_of in enumerate((JANUARY, FEBRUARY)):
        done("ingest", f"data/month_{number:03}", "--as-of", as_of, **on_spark)
    done("apply", **on_spark)

    # A driver that is killed in a join leaves nothing half.
    train = ("train", "--as-of", JANUARY)
    with started(train) as process:
        until(lambda: cluster.in_a_join(driver, lambda _: os.killpg(process.pid, 9)), process)
    assert done("models") == []

    # A worker that is killed in a join changes nothing.
    with started(train) as process:
        killed = until(lambda: cluster.in_a_join(driver, cluster.kill), process)
        cluster.start_worker(killed)
        there = told(process, tmp_path)
    here = done(*train, STREAMFLOW_ENGINE="duckdb")
    assert there["data_hash"] == here["data_hash"]
    assert there["model_hash"] == here["model_hash"]
    assert done("reproduce", there["run_id"], **on_spark)["verdict"] == "identical"

    # Nor does a driver leave something half that is killed in a scoring.
    score = ("score", "--as-of", FEBRUARY, "--version", str(there["version"]))
    with cluster.holding_python() as holder, started(score) as process:
        until(holder, process)
    assert scores(settings) == {}

    # And a worker that is killed in a scoring changes nothing.
    with started(score) as process:
        with cluster.holding_python() as holder:
            killed = until(holder, process)
            cluster.kill(killed)
        cluster.start_worker(killed)
        scored = told(process, tmp_path)
    assert scored["added"]
    assert not done(*score, **on_spark)["added"]
    done("score", "--as-of", FEBRUARY, "--version", str(here["version"]))
    found = scores(settings)
    assert found[there["version"]] == found[here["version"]]
    assert len(found[there["version"]]) == scored["entities"] > 100

    assert done("materialize", "--as-of", FEBRUARY, **on_spark)


def test_commands_through_a_server_of_spark_connect_say_the_same(
    server: str, done: Done, settings: Settings
) -> None:
    # It has Java, and who uses it needs none.
    on_spark = {
        "STREAMFLOW_ENGINE": "spark",
        "STREAMFLOW_SPARK_REMOTE": server,
        "JAVA_HOME": str(settings.home),
    }
    done("generate", "data", "--users", "200", "--months", "1")
    done("ingest", "data/month_000", "--as-of", JANUARY)
    done("apply")
    there = done("train", "--as-of", JANUARY, **on_spark)
    here = done("train", "--as-of", JANUARY)
    assert there["data_hash"] == here["data_hash"]
    assert there["model_hash"] == here["model_hash"]
    for run, engine in ((there, on_spark), (here, {})):
        scored = done("score", "--as-of", JANUARY, "--version", str(run["version"]), **engine)
        assert scored["added"]
    found = scores(settings)
    assert found[there["version"]] == found[here["version"]]
    assert len(found[there["version"]]) > 100


def scores(settings: Settings) -> dict[int, list[tuple[Any, ...]]]:
    """All scores that are seen, by the version that scored."""
    found: dict[int, list[tuple[Any, ...]]] = {}
    assert settings.database_url is not None
    with Database(settings.database_url.get_secret_value()) as database:
        for row in execute(
            database,
            "SELECT version, entity_id, float8send(probability) AS bits, label, rank, decile "
            "FROM streamflow.scores JOIN streamflow.scorings USING (scoring_id) ORDER BY 1, 2",
        ):
            version, *values = row.values()
            found.setdefault(version, []).append(tuple(values))
    return found
