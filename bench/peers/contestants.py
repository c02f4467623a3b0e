"""The servers that `bench.serving` measures: their commands and request bodies."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import util
from pathlib import Path
from typing import Any

from bench.peers import stores
from bench.peers.workplace import Workplace, free_port
from streamflow.operations.processes import Command

OURS = "StreamFlow"
PLAIN = "plain way, Feast's PostgreSQL store"
PLAIN_SQLITE = "plain way, Feast's SQLite store"
PLAIN_REDIS = "plain way, Feast's Redis store"
ASYNCHRONOUS = "Feast's async client, ONNX Runtime"
MLFLOW = "mlflow models serve, features sent"
FEAST = "feast serve, features alone"
FLOOR = "empty endpoint"

REQUESTS = 2_000


@dataclass(frozen=True)
class Contestant:
    """A server of one worker, to which `bodies` are posted at `path`."""

    command: Command
    port: int
    path: str
    bodies: list[str]
    batch_path: str | None = None

    @property
    def name(self) -> str:
        """The name in tables."""
        return self.command.name

    def predict(self, body: str, path: str | None = None) -> Any:
        """The response's JSON to a POST of the body. Raises HTTPError."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path or self.path}",
            body.encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def get(self, path: str) -> Any:
        """The JSON at the path."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as response:
            return json.load(response)


def request_bodies(place: Workplace) -> list[str]:
    """Requests for random users, the same for all contestants."""
    dice = random.Random(42)
    return [json.dumps({"user_id": dice.choice(place.users)}) for _ in range(REQUESTS)]


def ours(place: Workplace) -> Contestant:
    """StreamFlow's API."""
    command, port = place.ours()
    return Contestant(command, port, "/predict", request_bodies(place))


def ours_with(place: Workplace, name: str, variable: str, setting: str) -> Contestant:
    """StreamFlow's API, by this name and with a setting of its own."""
    contestant = ours(place)
    command = contestant.command
    environment = {**command.environment, variable: setting}
    log = command.log.with_name(f"ours-{setting}.log")
    return replace(
        contestant, command=replace(command, name=name, environment=environment, log=log)
    )


def plain(place: Workplace, name: str, folder: Path, model_uri: str) -> Contestant:
    """The plain way, with the online store that the Feast folder configures."""
    service = place.use_case.feature_service
    environment = {"MLFLOW_TRACKING_URI": place.mlflow_uri}
    arguments = [str(folder), service, model_uri]
    command, port = _module(place, name, "plain", arguments, environment)
    return Contestant(command, port, "/predict", request_bodies(place), "/predict/batch")


def floor(place: Workplace) -> Contestant:
    """An endpoint that does nothing."""
    command, port = _module(place, FLOOR, "floor", [], {})
    return Contestant(command, port, "/predict", request_bodies(place))


def all_contestants(place: Workplace) -> tuple[list[Contestant], dict[str, str]]:
    """All that can run here, and the reasons for the others. Call it in `redis_server`'s block."""
    postgres = stores.feast_folder(place, "peer-postgres", stores.postgres_store(place))
    sqlite = stores.feast_folder(
        place, "peer-sqlite", {"type": "sqlite", "path": str(place.folder / "online.db")}
    )
    frame = stores.features_of(place, postgres)
    model_uri = stores.plain_model(place, frame)
    arguments = [
        str(postgres),
        place.use_case.feature_service,
        str(stores.onnx_folder(place)),
    ]
    command, port = _module(place, ASYNCHRONOUS, "asynchronous", arguments, {})
    contestants = [
        ours(place),
        plain(place, PLAIN, postgres, model_uri),
        plain(place, PLAIN_SQLITE, sqlite, model_uri),
        Contestant(command, port, "/predict", request_bodies(place)),
        _mlflow(place, model_uri, frame),
        _feast(place, postgres),
        floor(place),
    ]
    skipped = {}
    if reason := no_redis():
        skipped[PLAIN_REDIS] = reason
    else:
        with_redis = stores.feast_folder(place, "peer-redis", {"type": "redis", **_redis(place)})
        contestants.insert(3, plain(place, PLAIN_REDIS, with_redis, model_uri))
    return contestants, skipped


def no_redis() -> str | None:
    """Why Redis can't be measured, or None if it can."""
    if shutil.which("redis-server") is None:
        return "no redis-server"
    return None if util.find_spec("redis") else "no Python package redis"


@contextmanager
def redis_server(place: Workplace) -> Iterator[None]:
    """Run a Redis without files while the block runs, if Redis is installed."""
    if no_redis():
        yield
        return
    place.folder.joinpath("redis.port").write_text(str(port := free_port()))
    arguments = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    with (place.folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def _redis(place: Workplace) -> dict[str, str]:
    port = place.folder.joinpath("redis.port").read_text()
    return {"connection_string": f"127.0.0.1:{port}"}


def _module(
    place: Workplace, name: str, module: str, arguments: list[str], environment: dict[str, str]
) -> tuple[Command, int]:
    port = free_port()
    command = Command(
        name=name,
        arguments=[sys.executable, "-m", f"bench.peers.{module}", *arguments, str(port)],
        environment=environment,
        ready_url=f"http://127.0.0.1:{port}/health",
        log=place.folder / "logs" / f"{name}.log",
    )
    return command, port


def _mlflow(place: Workplace, model_uri: str, frame: Any) -> Contestant:
    port = free_port()
    command = Command(
        name=MLFLOW,
        arguments=[
            *(sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model_uri),
            *("--env-manager", "local", "--workers", "1", "--port", str(port)),
        ],
        environment={"MLFLOW_TRACKING_URI": place.mlflow_uri},
        ready_url=f"http://127.0.0.1:{port}/ping",
        log=place.folder / "logs" / "mlflow.log",
    )
    rows = frame.sample(min(REQUESTS, len(frame)), random_state=42).to_dict("records")
    bodies = [json.dumps({"dataframe_records": [row]}) for row in rows]
    return Contestant(command, port, "/invocations", bodies)


def _feast(place: Workplace, folder: Path) -> Contestant:
    port = free_port()
    feast = Path(sys.executable).with_name("feast")
    command = Command(
        name=FEAST,
        arguments=[
            *(str(feast), "--chdir", str(folder), "serve", "--port", str(port)),
            # A worker that is recycled every 1,000 requests drops connections.
            *("--no-access-log", "--max-requests", "0", "--max-requests-jitter", "0"),
        ],
        environment={},
        ready_url=f"http://127.0.0.1:{port}/health",
        log=place.folder / "logs" / "feast.log",
    )
    service = place.use_case.feature_service
    bodies = [
        json.dumps({"feature_service": service, "entities": {key: [value]}})
        for key, value in (next(iter(json.loads(body).items())) for body in request_bodies(place))
    ]
    return Contestant(command, port, "/get-online-features", bodies)
