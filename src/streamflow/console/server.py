"""The console's server process."""

from __future__ import annotations

from datetime import UTC, datetime

from streamflow import log
from streamflow.console.access.boundary import Boundary
from streamflow.console.acts.jobs import Jobs
from streamflow.console.acts.process import in_a_process
from streamflow.console.app import create_app
from streamflow.console.guide import built_guide
from streamflow.console.parts import ConsoleParts
from streamflow.features.engines.history_database import reading_database
from streamflow.keys.access import Access, is_loopback
from streamflow.keys.audit import Audit
from streamflow.keys.key_sync import DatabaseKeyStore, KeySync
from streamflow.operations import api_server, running_servers
from streamflow.platform import Platform
from streamflow.postgres.database import Database

# A page gives up on a database that takes longer.
READING_SECONDS = 10.0


def console(platform: Platform, host: str) -> Boundary:
    """The console for a server that listens on `host`; it starts with its lifespan."""
    url = platform.database.address
    checked = Access(
        open_without_keys=is_loopback(host),
        requests_per_second=platform.settings.api_key_rate,
        now=_now,
    )
    keys = KeySync(DatabaseKeyStore(Database(url, READING_SECONDS)), checked, Audit())
    names = (platform.settings.console_host_names or "").split(",")
    return create_app(
        ConsoleParts(
            platform,
            reading_database(platform.settings, Database(url, READING_SECONDS)),
            keys,
            host,
            frozenset(name.strip().lower() for name in names if name.strip()),
            _now,
            Jobs(in_a_process(platform.settings)),
            built_guide(),
        )
    )


def serve(platform: Platform, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM, and let requests in progress finish first."""
    import uvicorn

    log.write_json_to()
    home, url = platform.settings.home, f"http://{host}:{port}"
    with (
        running_servers.recorded(home, "console", url),
        api_server.postgres_supervised(platform.settings),
    ):
        uvicorn.run(console(platform, host), host=host, port=port, **api_server.UVICORN_OPTIONS)


def _now() -> datetime:
    return datetime.now(UTC)
