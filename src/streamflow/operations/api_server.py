"""The API's server processes: uvicorn, with one worker or several."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import resource
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamflow import bootstrap, log
from streamflow.errors import DatabaseUnavailable, KeyRefused
from streamflow.keys import access, api_keys
from streamflow.operations import processes, running_servers
from streamflow.operations.servers import EmbeddedPostgres
from streamflow.platform import Platform
from streamflow.polling import PollingThread
from streamflow.postgres.database import Database
from streamflow.scratch import scratch
from streamflow.settings import Settings, load_settings

if TYPE_CHECKING:
    from streamflow.api.middleware import RequestBoundary

DRAIN_SECONDS = 10
OPEN_FILES = 65536
UVICORN_OPTIONS: Mapping[str, Any] = {
    "access_log": False,  # the app writes its own line per request
    "proxy_headers": False,  # no response depends on the client's address
    "log_config": None,  # uvicorn's warnings are lines of our log
    "log_level": "warning",
    "timeout_graceful_shutdown": DRAIN_SECONDS,
    "ws": "none",  # the API has no WebSocket: a request for one is answered like any other
}
# Metrics of several processes are in mapped files. On a full disk, writing to them would end the
# process with SIGBUS.
MEMORY = Path("/dev/shm")


def require_free_port(host: str, port: int) -> None:
    """Raises PortInUse if another program listens there."""
    processes.require_free(host, port, "STREAMFLOW_API_PORT")


def require_keys(
    database: Database, host: str, now: datetime, variable: str = "STREAMFLOW_API_HOST"
) -> str:
    """A phrase for people: who is let in by a server that listens on `host`, which the setting
    `variable` says.

    Raises KeyRefused if other machines can reach `host` and there is no valid key.
    """
    try:
        keys = api_keys.all_keys(database)
    except DatabaseUnavailable:
        return "it lets nobody in until the database answers"
    working = sum(key.works(now) for key in keys)
    if not access.is_loopback(host) and not working:
        raise KeyRefused(
            f"There is no API key that works, and {host} can be reached from elsewhere.",
            "Make one: `streamflow keys create --scope predict --scope read`; "
            f"or listen on this machine alone: {variable}=127.0.0.1.",
        )
    if keys:
        return f"it wants a key; {working} of {len(keys)} work"
    return "it is open to everybody on this machine, until the first `streamflow keys create`"


def serve(ready: Platform, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM, and let requests in progress finish first."""
    import uvicorn

    from streamflow.api.http_protocol import http_protocol

    log.write_json_to()
    _allow_most_connections()
    options: dict[str, Any] = {
        "http": http_protocol(ready.settings.direct_http),
        "host": host,
        "port": port,
        **UVICORN_OPTIONS,
    }
    workers = ready.settings.api_workers or len(os.sched_getaffinity(0))
    url = f"http://{host}:{port}"
    with (
        running_servers.recorded(ready.settings.home, "api", url),
        postgres_supervised(ready.settings),
    ):
        if workers == 1:
            uvicorn.run(bootstrap.api(ready, host), **options)
            return
        with _shared(ready, host):
            uvicorn.run(
                "streamflow.operations.api_server:worker", factory=True, workers=workers, **options
            )


@contextmanager
def postgres_supervised(settings: Settings) -> Iterator[None]:
    """While the block runs, the embedded PostgreSQL is started again when it ends."""
    if settings.database_url is not None:
        yield
        return
    postgres = EmbeddedPostgres(settings)

    def poll() -> None:
        if postgres.restart_if_ended():
            log.warning("postgresql_started_again")

    thread = PollingThread("postgresql", poll, processes.SUPERVISE_SECONDS)
    thread.start()
    try:
        yield
    finally:
        thread.stop()


def _allow_most_connections() -> None:
    """Raise the number of files that this process and its workers may have open, as far as the
    system allows. The usual 1,024 are few: half requests alone can use them up for seconds."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        with suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def worker() -> RequestBoundary:
    """The app of one of several processes. All its settings are in the environment."""
    from streamflow.api.telemetry import metrics

    log.write_json_to()
    if (server := multiprocessing.parent_process()) is not None and server.pid is not None:
        processes.end_with(server.pid)
    if lost := metrics.forget_dead_processes():
        log.warning("prediction_log_lost", rows=lost)
    settings = load_settings()
    opened = bootstrap.platform(settings, even_without_database=True)
    atexit.register(opened.__exit__, None, None, None)
    return bootstrap.api(opened.__enter__(), settings.api_host)


def _metrics_folder(home: Path) -> Path:
    """A folder of ours in memory; one of the home, where that can't be."""
    folder = MEMORY / f"streamflow-metrics-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return home / "metrics"
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return folder if ours and not found.st_mode & 0o022 else home / "metrics"


@contextmanager
def _shared(ready: Platform, host: str) -> Iterator[None]:
    """Environment variables for the workers, and a folder for each worker's metrics, so that any of
    them can publish those of all. The folder of a server that was killed is removed by the next."""
    with scratch(_metrics_folder(ready.settings.home)) as folder:
        given = {
            "STREAMFLOW_HOME": str(ready.settings.home),
            "STREAMFLOW_API_HOST": host,
            "PROMETHEUS_MULTIPROC_DIR": str(folder),
        }
        # The embedded server is found by the home, wherever it is started again.
        if ready.settings.database_url is not None:
            given["STREAMFLOW_DATABASE_URL"] = ready.database.url
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
