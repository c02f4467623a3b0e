"""The servers: the embedded PostgreSQL; MLflow, the API and the console as commands for child
processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from streamflow.bootstrap import MLFLOW_SCHEMA
from streamflow.log import rotate
from streamflow.operations import processes, running_servers
from streamflow.operations.processes import Child, Command, Supervised
from streamflow.platform import Platform
from streamflow.postgres import embedded_server
from streamflow.postgres.database_url import sqlalchemy_url
from streamflow.settings import Settings

MLFLOW = "MLflow"


def mlflow_server(platform: Platform, port: int) -> Command:
    """MLflow's server over the platform's store: one worker, no job runners, loopback only."""
    logs = platform.settings.home / "logs"
    return Command(
        name=MLFLOW,
        arguments=[
            *(sys.executable, "-m", "mlflow", "server"),
            *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--artifacts-destination", platform.artifacts.as_uri()),
        ],
        environment={
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        # Not an argument: it holds the database's password, and every user can see arguments.
        changing_environment=lambda: {
            "MLFLOW_BACKEND_STORE_URI": sqlalchemy_url(
                platform.database.url, MLFLOW_SCHEMA, "psycopg2"
            )
        },
        ready_url=f"http://127.0.0.1:{port}/health",
        log=logs / "mlflow.log",
    )


def api_server(platform: Platform, port: int) -> Command:
    """The API, which connects to the embedded PostgreSQL by itself."""
    return _own_server(platform, "API", "serve", platform.settings.api_host, port)


def console_server(platform: Platform, port: int) -> Command:
    """The console, which connects to the embedded PostgreSQL by itself."""
    return _own_server(platform, "Console", "console", platform.settings.console_host, port)


def _own_server(platform: Platform, name: str, command: str, host: str, port: int) -> Command:
    reached_at = "127.0.0.1" if host == "0.0.0.0" else host
    return Command(
        name=name,
        arguments=[
            *(sys.executable, "-m", "streamflow", command),
            *("--host", host, "--port", str(port)),
        ],
        environment={
            "STREAMFLOW_HOME": str(platform.settings.home),
            "STREAMFLOW_USE_CASE": platform.settings.use_case,
        },
        ready_url=f"http://{reached_at}:{port}/health",
        log=platform.settings.home / "logs" / f"{name.lower()}.log",
    )


class EmbeddedPostgres:
    """The PostgreSQL of the home, for a process that uses it."""

    name = "PostgreSQL"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def restart_if_ended(self) -> bool:
        """Start it again if it ended; returns whether it did. A long log is put aside.

        Raises DatabaseUnavailable.
        """
        home = self._settings.home
        rotate(home / "logs" / "postgres.log")
        return embedded_server.restart_if_ended(home, self._settings.postgres_binaries)


@contextmanager
def running(platform: Platform, commands: Sequence[Command]) -> Iterator[list[Child]]:
    """Run the commands while the block runs; `streamflow status` sees whose MLflow it is.

    The API and the console record themselves, however they were started.
    """
    with processes.running(commands) as children, ExitStack() as records:
        for command in commands:
            if command.name == MLFLOW:
                url = command.ready_url.removesuffix("/health")
                record = running_servers.recorded(platform.settings.home, "mlflow", url)
                records.enter_context(record)
        yield children


def supervised(platform: Platform, children: Sequence[Child]) -> list[Supervised]:
    """The children, and before them the embedded PostgreSQL if it is used."""
    own = platform.settings.database_url is None
    return [*([EmbeddedPostgres(platform.settings)] if own else []), *children]
