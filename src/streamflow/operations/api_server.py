"""The API's processes: the app with its real collaborators, under uvicorn."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamflow import log
from streamflow.bootstrap import platform, production
from streamflow.errors import DatabaseUnavailable, KeyRefused
from streamflow.keys import access, api_keys
from streamflow.operations import processes
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.settings import load_settings

if TYPE_CHECKING:
    from streamflow.api.middleware import RequestBoundary

DRAIN_SECONDS = 10
# What the API asks behind the requests' backs is small, but for writing the prediction log: a
# database that takes longer hangs.
_PATIENCE_SECONDS, _WRITING_PATIENCE_SECONDS = 2.0, 10.0
# Metrics of several processes are in mapped files: on a disk that is full they would end the
# process that writes them, with SIGBUS.
MEMORY = Path("/dev/shm")


def require_free_port(host: str, port: int) -> None:
    """Raises PortInUse."""
    processes.require_free(host, port, "STREAMFLOW_API_PORT")


def require_keys(database: Database, host: str, now: datetime) -> str:
    """Who may ask an API that listens on `host`, in words.

    Raises KeyRefused if anybody could reach it and no key works: it would have to trust everybody.
    """
    try:
        made = api_keys.known(database)
    except DatabaseUnavailable:
        return "it lets nobody in until the database answers"
    working = sum(key.works(now) for key in made)
    if not access.is_loopback(host) and not working:
        raise KeyRefused(
            f"There is no API key that works, and {host} can be reached from elsewhere.",
            "Make one: `streamflow keys create --scope predict --scope read`; "
            "or listen on this machine alone: STREAMFLOW_API_HOST=127.0.0.1.",
        )
    if made:
        return f"it wants a key; {working} of {len(made)} work"
    return "it is open to everybody on this machine, until the first `streamflow keys create`"


def serve(ready: Platform, host: str, port: int) -> None:
    """Answer until SIGINT or SIGTERM, which let requests under way finish first."""
    import uvicorn

    from streamflow.api.direct_http import HttpProtocol

    options: dict[str, Any] = {
        "http": HttpProtocol,
        "host": host,
        "port": port,
        "access_log": False,  # the app writes its own line per request
        "proxy_headers": False,  # no answer depends on who asks
        "log_config": None,  # its warnings are lines of our log
        "log_level": "warning",
        "timeout_graceful_shutdown": DRAIN_SECONDS,
    }
    log.write_json_to()
    workers = ready.settings.api_workers or len(os.sched_getaffinity(0))
    if workers == 1:
        uvicorn.run(create(ready, host), **options)
        return
    with _shared(ready, host):
        uvicorn.run(
            "streamflow.operations.api_server:worker", factory=True, workers=workers, **options
        )


def create(ready: Platform, host: str) -> RequestBoundary:
    """The app for a server that listens on `host`."""
    from streamflow.api.app import create_app
    from streamflow.api.telemetry.tracing import tracing
    from streamflow.keys.audit import Audit
    from streamflow.keys.key_sync import DatabaseKeyStore, Gatekeeper
    from streamflow.registry.model_cache import LastGood
    from streamflow.serving.online_store import online_store
    from streamflow.serving.prediction_log_writer import PredictionWriter

    settings = ready.settings
    entrance = access.Access(
        open_without_keys=access.is_loopback(host),
        requests_per_second=settings.api_key_rate,
        now=lambda: datetime.now(UTC),
    )
    url = ready.database.url
    ready.database.close()  # which waits for as long as it takes
    database = Database(url, _PATIENCE_SECONDS)
    key_store = DatabaseKeyStore(Database(url, _PATIENCE_SECONDS))
    log_writer = None
    if settings.prediction_log:
        # With a connection of its own, which its thread alone uses.
        own = Database(url, _WRITING_PATIENCE_SECONDS)
        log_writer = PredictionWriter(own, settings.prediction_log_days, lambda: datetime.now(UTC))
    return create_app(
        settings,
        production(settings, database, ready.registry),
        online_store(settings, database, ready.use_case),
        registered_model=ready.use_case.registered_model,
        join_key=ready.use_case.join_key,
        gatekeeper=Gatekeeper(key_store, entrance, Audit()),
        log_writer=log_writer,
        last_good=LastGood(settings.home / "models", ready.use_case.registered_model),
        trace=tracing(),
    )


def worker() -> RequestBoundary:
    """The app of one of several processes, whose settings are all in its environment."""
    from streamflow.api.telemetry import metrics

    log.write_json_to()
    metrics.forget_dead_processes()
    settings = load_settings()
    opened = platform(settings, even_without_database=True)
    atexit.register(opened.__exit__, None, None, None)
    return create(opened.__enter__(), settings.api_host)


@contextmanager
def _shared(ready: Platform, host: str) -> Iterator[None]:
    """What the workers have in common: the database that runs already, and a folder in which each
    keeps its metrics, so that any of them can tell those of all."""
    ready.settings.home.mkdir(parents=True, exist_ok=True)
    in_memory = os.access(MEMORY, os.W_OK)
    parent = MEMORY if in_memory else ready.settings.home
    with tempfile.TemporaryDirectory(prefix="streamflow-metrics-", dir=parent) as folder:
        given = {
            "STREAMFLOW_HOME": str(ready.settings.home),
            "STREAMFLOW_DATABASE_URL": ready.database.url,
            "STREAMFLOW_API_HOST": host,
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
