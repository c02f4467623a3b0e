"""A temporary folder with a model in Production: what a user has after the quickstart."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from bench import load, temporary_folder
from streamflow.operations.processes import Command, interrupted_by_sigterm
from streamflow.postgres import embedded_server
from streamflow.postgres.database_url import sqlalchemy_url
from streamflow.use_case import UseCase
from streamflow.use_case.module import load_use_case

USE_CASE = "bench.peers.use_case"
MONTH = date(2024, 1, 31)
REPOSITORY = Path(load.__file__).parent.parent


@dataclass(frozen=True)
class Workplace:
    """A model in Production and the features of `users` online, in the PostgreSQL of `url`."""

    folder: Path
    url: str
    use_case: UseCase
    users: list[str]

    @property
    def home(self) -> Path:
        """STREAMFLOW_HOME."""
        return self.folder / "home"

    @property
    def month(self) -> Path:
        """The folder with the month's files."""
        return self.folder / "data" / "month_000"

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking URI: the database."""
        return sqlalchemy_url(self.url, "mlflow", "psycopg2")

    def ours(self) -> tuple[Command, int]:
        """The API's command, with one worker and its log in a file, and its port."""
        port = free_port()
        command = Command(
            name="StreamFlow",
            arguments=[sys.executable, "-m", "streamflow", "serve", "--port", str(port)],
            environment={"STREAMFLOW_HOME": str(self.home), "STREAMFLOW_API_WORKERS": "1"},
            ready_url=f"http://127.0.0.1:{port}/ready",
            log=self.folder / "logs" / "ours.log",
        )
        return command, port


@contextmanager
def workplace(users: int) -> Iterator[Workplace]:
    """Run all steps up to a version in Production; everything is removed after the block.

    The block runs in the folder and without other STREAMFLOW_* variables, so that neither the
    user's environment nor a `.env` affects the servers that it starts.
    """
    for name in [name for name in os.environ if name.startswith("STREAMFLOW_")]:
        del os.environ[name]
    os.environ["STREAMFLOW_USE_CASE"] = USE_CASE
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])
    )
    # `mlflow models serve` starts `uvicorn` by name.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with interrupted_by_sigterm(), temporary_folder() as folder, chdir(folder):
        print(f"preparing {users:,} users and a model in {folder}", flush=True)
        with embedded_server.running(folder / "home") as url:
            use_case = load_use_case(USE_CASE)
            _prepare(folder, users)
            file = folder / "data" / "month_000" / f"{use_case.entity_table}.csv"
            with file.open(encoding="utf-8", newline="") as lines:
                ids = [row[use_case.join_key] for row in csv.DictReader(lines)]
            yield Workplace(folder, url, use_case, ids)


def _prepare(folder: Path, users: int) -> None:
    as_of = ("--as-of", MONTH.isoformat())
    streamflow(folder, "generate", "data", "--users", str(users), "--months", "1")
    streamflow(folder, "ingest", "data/month_000", *as_of)
    streamflow(folder, "apply")
    streamflow(folder, "materialize", *as_of)
    version = str(streamflow(folder, "train", *as_of)["version"])
    streamflow(folder, "promote", version, "--to", "production", "--why", "bench")


def streamflow(folder: Path, *arguments: str) -> Any:
    """Run a command in the folder's home; what it prints as JSON."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streamflow", *arguments, "--json"],
        env={**os.environ, "STREAMFLOW_HOME": str(folder / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output, errors = process.communicate()
    finally:
        # After an interrupt it must end before the server: the server stays up while it has users.
        process.kill()
        process.wait()
    if process.returncode:
        raise SystemExit(f"streamflow {' '.join(arguments)}: {errors[-2000:]}")
    return json.loads(output)


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
