"""The servers beside PostgreSQL, MLflow and the API, as commands for child processes."""

from __future__ import annotations

import sys

from streamflow.operations.processes import Command
from streamflow.platform import Platform


def mlflow_server(platform: Platform, port: int) -> Command:
    """MLflow's server over the platform's store: one worker, no job runners, loopback only."""
    logs = platform.settings.home / "logs"
    return Command(
        name="MLflow",
        arguments=[
            *(sys.executable, "-m", "mlflow", "server"),
            *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--artifacts-destination", platform.artifacts.as_uri()),
        ],
        environment={
            # Not an argument: it holds the database's password, and every user can see arguments.
            "MLFLOW_BACKEND_STORE_URI": platform.mlflow_uri,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        ready_url=f"http://127.0.0.1:{port}/health",
        log=logs / "mlflow.log",
    )


def api_server(platform: Platform, port: int) -> Command:
    """The API, which connects to the embedded PostgreSQL by itself."""
    host = platform.settings.api_host
    reached_at = "127.0.0.1" if host == "0.0.0.0" else host
    return Command(
        name="API",
        arguments=[
            *(sys.executable, "-m", "streamflow", "serve"),
            *("--host", host, "--port", str(port)),
        ],
        environment={
            "STREAMFLOW_HOME": str(platform.settings.home),
            "STREAMFLOW_USE_CASE": platform.settings.use_case,
        },
        ready_url=f"http://{reached_at}:{port}/health",
        log=platform.settings.home / "logs" / "api.log",
    )
