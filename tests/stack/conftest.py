"""The stack of compose.yaml, built and run for real on the Docker engine that answers.

`make stack-test` runs these tests; `make test` doesn't. They talk to ports on 127.0.0.1, have a
project, secrets and ports of their own, and take everything away again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamflow.operations import processes

ROOT = Path(__file__).parents[2]
PROJECT = "streamflow-stack-test"
PATIENCE_SECONDS = 240
DOWN = ("--profile", "*", "down", "--volumes", "--remove-orphans")


def run(*command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, **options)
    assert not check or done.returncode == 0, (
        f"{command}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    )
    return done


def docker(*arguments: str) -> str:
    return run("docker", *arguments).stdout.strip()


def until(true: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it didn't become true in time"
        time.sleep(0.05)
    return found


@dataclass(frozen=True)
class Stack:
    """What runs, and how it's asked. `told` is all that `make stack` printed."""

    compose_command: tuple[str, ...]
    values: dict[str, str]
    told: str

    def compose(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return run(*self.compose_command, *arguments, **{"env": environment(), **options})

    def pipeline(self, *arguments: str) -> Any:
        """What `streamflow … --json` says in the pipeline's container."""
        done = self.compose("run", "--rm", "-T", "pipeline", *arguments, "--json")
        return json.loads(done.stdout)

    def container(self, service: str, number: int = 1) -> str:
        labels = {"project": PROJECT, "service": service, "container-number": number}
        chosen = [f"--filter=label=com.docker.compose.{name}={labels[name]}" for name in labels]
        return docker("ps", "--all", "--quiet", "--no-trunc", *chosen)

    def inspect(self, service: str, number: int = 1) -> dict[str, Any]:
        (found,) = json.loads(docker("inspect", self.container(service, number)))
        return dict(found)

    def is_healthy(self, service: str, number: int = 1) -> bool:
        return bool(self.inspect(service, number)["State"]["Health"]["Status"] == "healthy")

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.values[port]}"

    @property
    def api(self) -> str:
        return self.url("STREAMFLOW_API_PORT")

    def user(self, name: str) -> tuple[str, str]:
        """MLflow's credentials of one of its users."""
        return name, self.values[f"MLFLOW_{name.upper()}_PASSWORD"]

    @property
    def key(self) -> dict[str, str]:
        """The header with the API key of .env."""
        return {"Authorization": f"Bearer {self.values['STREAMFLOW_API_KEY']}"}

    def predict(self, entity_id: str) -> dict[str, Any]:
        question = {"user_id": entity_id}
        answer = httpx.post(f"{self.api}/predict", json=question, headers=self.key, timeout=30)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def _compose() -> list[str]:
    if run("docker", "compose", "version", check=False).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"]


def _values(file: Path) -> dict[str, str]:
    lines = (line.partition("=") for line in file.read_text().splitlines())
    return {name: value for name, equals, value in lines if equals and not name.startswith("#")}


def prepared(folder: Path, project: str, port: int) -> Stack:
    """A stack of which nothing runs yet, with secrets and ports of its own."""
    file = folder / ".env"
    run(sys.executable, "deploy/environment.py", str(file))
    with file.open("a") as lines:
        for name in ("API", "MLFLOW", "FEAST", "FEAST_UI", "CONSOLE"):
            # The next one stays free for a second replica.
            port = processes.next_free("127.0.0.1", port)
            lines.write(f"STREAMFLOW_{name}_PORT={port}\n")
            port += 2
    command = (*_compose(), "--project-name", project, "--env-file", str(file))
    return Stack(command, _values(file), "")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """What `make env` and `make stack` leave running."""
    if not shutil.which("docker") or run("docker", "version", check=False).returncode:
        pytest.skip("no Docker engine answers; tests/stack/engine/up.sh brings one up")
    ready = prepared(tmp_path_factory.mktemp("stack"), PROJECT, 20_000)
    command = ready.compose_command
    down = (*command, *DOWN)
    run(*down)
    try:
        done = run("make", "stack", f"COMPOSE={' '.join(command)}", env=environment(), check=False)
        print(done.stdout, done.stderr, sep="\n", flush=True)
        if done.returncode:
            print(run(*command, "logs", "--tail", "40", check=False).stdout)
        assert done.returncode == 0
        yield replace(ready, told=done.stdout)
    finally:
        run(*down)


def environment(**added: str) -> dict[str, str]:
    """Without settings of whoever runs the tests: compose takes them before those of its file.

    `STREAMFLOW_DIRECT_HTTP` stays, so that the whole stack can be tested on either HTTP path.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("STREAMFLOW_") or name == "STREAMFLOW_DIRECT_HTTP"
    }
    return {**kept, **added}
