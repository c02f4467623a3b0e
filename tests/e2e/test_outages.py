"""PostgreSQL and MLflow going away and coming back, at the start and while predictions are asked
for, as who asks and who operates the API sees it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from tests import postgres_processes, promoting, tiny_case
from tests.e2e.cut import Line, line
from tests.statements import execute

from streamflow.bootstrap import platform
from streamflow.operations import processes, servers
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.materialize import materialize
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.training import served_model
from streamflow.use_case import Generation

PATIENCE_SECONDS = 60
JANUARY = date(2024, 1, 31)
KNOWN = datetime(2024, 2, 1, 8, tzinfo=UTC)
NOW = datetime(2024, 3, 1, 8, tzinfo=UTC)
QUESTION = {"machine_id": "m-0001"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="ends processes as Linux does"),
]


@pytest.fixture(scope="module")
def ready(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """A model in Production, and a month online."""
    home, url = tmp_path_factory.mktemp("a home"), new_database(prepared_database)
    settings = load_settings(home=home, database_url=url, use_case="tests.tiny_case")
    with platform(settings) as opened:
        tiny_case.generate(Generation(home / "months", users=300, months=1, seed=5))
        ingest(opened, home / "months" / "month_000", JANUARY, None, KNOWN, "test")
        apply(opened)
        version = train.train(opened, JANUARY, None, 1, NOW).version
        promoting.promote(opened, version, "Production", "a test", "test", NOW)
        materialize(opened, JANUARY, NOW)
        yield opened


@pytest.fixture
def database_line(ready: Platform) -> Iterator[Line]:
    with psycopg.connect(ready.database.url) as connection:
        (port,) = connection.execute("SHOW port").fetchone() or ()
        host = connection.info.host
    # A socket's folder is no host; its server listens on loopback as well.
    with line("127.0.0.1" if host.startswith("/") else host, int(port)) as made:
        yield made


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def api(
    ready: Platform, home: Path, database_line: Line, workers: int = 1, **environment: str
) -> Iterator[processes.Child]:
    """`streamflow serve`, which sees PostgreSQL through the line."""
    port, info = free_port(), psycopg.conninfo.conninfo_to_dict(ready.database.url)
    url = (
        f"postgresql://{info['user']}:{info.get('password', '')}"
        f"@127.0.0.1:{database_line.port}/{info['dbname']}"
    )
    serve = processes.Command(
        name="API",
        arguments=[sys.executable, "-m", "streamflow", "serve", "--port", str(port), "--json"],
        environment={
            "STREAMFLOW_HOME": str(home),
            "STREAMFLOW_DATABASE_URL": url,
            "STREAMFLOW_USE_CASE": "tests.tiny_case",
            "STREAMFLOW_API_WORKERS": str(workers),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **environment,
        },
        ready_url=f"http://127.0.0.1:{port}/health",
        log=home / "api.log",
    )
    with processes.running([serve]) as (child,):
        child.wait_until_ready()
        yield child


def client_of(child: processes.Child, patience_seconds: float = PATIENCE_SECONDS) -> httpx.Client:
    url = child.command.ready_url.removesuffix("/health")
    return httpx.Client(base_url=url, timeout=patience_seconds)


def until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline, "it didn't become true in time"
        time.sleep(0.02)
    return found


def status(client: httpx.Client, path: str) -> int:
    return client.get(path).status_code


def refused(client: httpx.Client) -> dict[str, Any] | None:
    """The problem that a prediction is answered with; None if it is given."""
    answer = client.post("/predict", json=QUESTION)
    if answer.status_code == 200:
        return None
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    problem: dict[str, Any] = answer.json()
    return problem


def logged(ready: Platform) -> set[str]:
    rows = execute(ready.database, "SELECT request_id FROM streamflow.predictions")
    return {str(row["request_id"]) for row in rows}


def test_postgresql_is_away_at_the_start_comes_goes_and_comes_again(
    ready: Platform, database_line: Line, tmp_path: Path
) -> None:
    database_line.cut()
    with api(ready, tmp_path, database_line, workers=2) as child, client_of(child) as client:
        assert status(client, "/ready") == 503
        assert refused(client)
        for _ in range(2):
            database_line.mend()
            until(lambda: status(client, "/ready") == 200)
            until(lambda: refused(client) is None)
            answer = client.post("/predict", json=QUESTION, headers={"x-request-id": "asked"})
            assert answer.json()["model"]["stage"] == "Production"
            database_line.cut()
            problem = until(lambda: refused(client))
            assert problem["code"] in ("feature_store_unavailable", "mlflow_unavailable")
            until(lambda: status(client, "/ready") == 503)
            assert status(client, "/health") == 200
        database_line.mend()
        until(lambda: refused(client) is None)
        # What waited for PostgreSQL was written when it was back.
        until(lambda: "asked" in logged(ready))


@pytest.mark.skipif("STREAMFLOW_DATABASE_URL" in os.environ, reason="the server is somebody's")
def test_postgresql_hangs_and_goes_on(ready: Platform, database_line: Line, tmp_path: Path) -> None:
    path = f"/features/{QUESTION['machine_id']}"
    server = postgres_processes.server_of(ready.database.url)
    with (
        api(ready, tmp_path, database_line, workers=2) as child,
        client_of(child) as client,
        client_of(child, patience_seconds=8) as impatient,
    ):
        until(lambda: refused(client) is None)
        client.post("/predict", json=QUESTION, headers={"x-request-id": "before"})
        with postgres_processes.hanging(server):
            for _ in range(10):
                assert (refused(impatient) or {})["code"] == "feature_store_unavailable"
                assert status(impatient, path) == 503
                assert status(impatient, "/health") == 200
            until(lambda: status(impatient, "/ready") == 503)
        until(lambda: refused(client) is None)
        until(lambda: status(client, "/ready") == 200)
        until(lambda: status(client, path) == 200)
        until(lambda: "before" in logged(ready))


@pytest.fixture(scope="module")
def mlflow_server(ready: Platform) -> Iterator[int]:
    """The port of an MLflow server over the same registry."""
    port = free_port()
    with processes.running([servers.mlflow_server(ready, port)]) as (child,):
        child.wait_until_ready()
        yield port


def test_a_start_without_mlflow_goes_on_with_what_answered_last_whose_files_are_as_they_were(
    ready: Platform, database_line: Line, mlflow_server: int, tmp_path: Path
) -> None:
    with line("127.0.0.1", mlflow_server) as mlflow_line:
        mlflow = {"STREAMFLOW_MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow_line.port}"}

        def registry(client: httpx.Client) -> str | None:
            told = client.get("/ready").json()["model"]
            return str(told["registry"]["code"]) if "registry" in told else None

        with api(ready, tmp_path, database_line, **mlflow) as child, client_of(child) as client:
            until(lambda: refused(client) is None)
            expected = client.post("/predict", json=QUESTION).json()
            mlflow_line.cut()
            until(lambda: registry(client) == "mlflow_unavailable")
            assert (refused(client), status(client, "/ready")) == (None, 200)

        # Both are away, and come back in the other order.
        database_line.cut()
        with api(ready, tmp_path, database_line, **mlflow) as child, client_of(child) as client:
            assert refused(client)
            database_line.mend()
            until(lambda: status(client, "/ready") == 200)
            answer = until(lambda: client.post("/predict", json=QUESTION)).json()
            assert answer["probability"] == expected["probability"]
            assert answer["model"] == expected["model"]
            assert registry(client) == "mlflow_unavailable"
            mlflow_line.mend()
            until(lambda: registry(client) is None)
            assert refused(client) is None

        mlflow_line.cut()
        (schema,) = (tmp_path / "models").glob(f"*/{served_model.SCHEMA_FILE}")
        schema.write_text(schema.read_text() + " ")
        with api(ready, tmp_path, database_line, **mlflow) as child, client_of(child) as client:
            until(lambda: registry(client) == "mlflow_unavailable")
            assert (refused(client) or {})["code"] == "mlflow_unavailable"
            assert "hash differs" in child.command.log.read_text()


def test_sigterm_lets_every_worker_answer_what_it_was_asked(
    ready: Platform, database_line: Line, tmp_path: Path
) -> None:
    connections = 8  # so that each of two workers has some
    with (
        # What waits for a lock has to be answered, so that none may take it for too slow.
        api(ready, tmp_path, database_line, 2, STREAMFLOW_LATENCY_BUDGET_MS="5000") as child,
        ExitStack() as servers,
        ThreadPoolExecutor(connections) as threads,
        psycopg.connect(ready.database.url) as blocking,
    ):
        clients = [servers.enter_context(client_of(child)) for _ in range(connections)]
        until(lambda: all(refused(client) is None for client in clients))
        blocking.execute('LOCK TABLE online."failures.machines_fv" IN ACCESS EXCLUSIVE MODE')
        asking = [
            threads.submit(
                client.post,
                "/predict",
                json=QUESTION,
                headers={"x-request-id": f"under way {number}".replace(" ", "-")},
            )
            for number, client in enumerate(clients)
        ]

        def waiting() -> int:
            (row,) = execute(
                ready.database,
                "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND application_name = 'feast_postgres' AND datname = current_database()",
            )
            return int(row["n"])

        until(lambda: waiting() >= 2)
        os.kill(child.pid, signal.SIGTERM)
        until(lambda: not processes.responds(child.command.ready_url))
        blocking.rollback()
        assert [one.result().status_code for one in asking] == [200] * connections
        until(lambda: not child.alive)
    # And what they answered was written down before the end.
    assert {f"under-way-{number}" for number in range(connections)} <= logged(ready)
