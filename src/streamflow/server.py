"""The API's process: the app with its real collaborators, under uvicorn."""

from __future__ import annotations

from streamflow import features, online, processes
from streamflow.bootstrap import Platform

DRAIN_SECONDS = 10


def require_free_port(host: str, port: int) -> None:
    """Raises PortInUse."""
    processes.require_free(host, port, "STREAMFLOW_API_PORT")


def serve(platform: Platform, host: str, port: int) -> None:
    """Answer until SIGINT or SIGTERM, which let requests under way finish first."""
    import uvicorn

    from streamflow import telemetry
    from streamflow.api import create_app

    telemetry.log_to()
    use_case = platform.use_case
    store = features.open_store(platform.database.url, use_case)
    app = create_app(
        platform.settings,
        platform.registry,
        online.OnlineFeatures(store, platform.database, use_case),
        registered_model=use_case.registered_model,
        join_key=use_case.join_key,
    )
    uvicorn.run(
        app,
        host=host,
        port=port,
        access_log=False,  # the app writes its own line per request
        log_level="warning",
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
