"""The API's processes: the app with its real collaborators, under uvicorn."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from streamflow import processes
from streamflow.bootstrap import Platform, platform
from streamflow.settings import load_settings

if TYPE_CHECKING:
    from streamflow.boundary import RequestBoundary

DRAIN_SECONDS = 10


def require_free_port(host: str, port: int) -> None:
    """Raises PortInUse."""
    processes.require_free(host, port, "STREAMFLOW_API_PORT")


def serve(ready: Platform, host: str, port: int) -> None:
    """Answer until SIGINT or SIGTERM, which let requests under way finish first."""
    import uvicorn

    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "access_log": False,  # the app writes its own line per request
        "proxy_headers": False,  # no answer depends on who asks
        "log_level": "warning",
        "timeout_graceful_shutdown": DRAIN_SECONDS,
    }
    workers = ready.settings.api_workers or len(os.sched_getaffinity(0))
    if workers == 1:
        uvicorn.run(create(ready), **options)
        return
    with _shared(ready):
        uvicorn.run("streamflow.server:worker", factory=True, workers=workers, **options)


def create(ready: Platform) -> RequestBoundary:
    from streamflow import telemetry
    from streamflow.api import create_app
    from streamflow.serving.stores import online_store

    telemetry.log_to()
    return create_app(
        ready.settings,
        ready.production,
        online_store(ready.settings, ready.database, ready.use_case),
        registered_model=ready.use_case.registered_model,
        join_key=ready.use_case.join_key,
    )


def worker() -> RequestBoundary:
    """The app of one of several processes, whose settings are all in its environment."""
    opened = platform(load_settings())
    atexit.register(opened.__exit__, None, None, None)
    return create(opened.__enter__())


@contextmanager
def _shared(ready: Platform) -> Iterator[None]:
    """What the workers have in common: the database that runs already, and a folder in which each
    keeps its metrics, so that any of them can tell those of all."""
    ready.settings.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="metrics-", dir=ready.settings.home) as folder:
        given = {
            "STREAMFLOW_HOME": str(ready.settings.home),
            "STREAMFLOW_DATABASE_URL": ready.database.url,
            "PROMETHEUS_MULTIPROC_DIR": folder,
        }
        before = {name: os.environ.get(name) for name in given}
        os.environ.update(given)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
