"""The commands that run servers: `serve`, `up`, `status`, `demo`."""

from __future__ import annotations

import json as json_module
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from streamflow.cli.terminal import Json, opened, operator, show, table
from streamflow.errors import DatabaseUnavailable

app = typer.Typer()


@app.command(epilog="Example: streamflow serve --port 8001")
def serve(
    host: Annotated[str | None, typer.Option(help="Default: STREAMFLOW_API_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: STREAMFLOW_API_PORT.")] = None,
    json: Json = False,
) -> None:
    """Serve predictions over HTTP in the foreground; follows Production without a restart."""
    from streamflow.operations import api_server, processes
    from streamflow.settings import load_settings

    settings = load_settings()
    chosen_host, chosen_port = host or settings.api_host, port or settings.api_port
    api_server.require_free_port(chosen_host, chosen_port)
    # uvicorn hands on the signal that ended it, and PostgreSQL has to be stopped even so.
    with processes.interrupted_by_sigterm(), opened(even_without_database=True) as platform:
        try:
            asking = api_server.require_keys(platform.database, chosen_host, datetime.now(UTC))
        except DatabaseUnavailable as error:
            asking = f"not ready, and tried again by itself: {error.message}"
        url = f"http://{chosen_host}:{chosen_port}"
        told = {"url": url, "access": asking}
        show(told, json, lambda: print(f"API: {url}/docs; {asking}", flush=True))
        api_server.serve(platform, chosen_host, chosen_port)


@app.command(epilog="Example: streamflow up")
def up(json: Json = False) -> None:
    """Run PostgreSQL, MLflow and the API until Ctrl-C; what ends is started again."""
    from streamflow.operations import api_server, processes, servers
    from streamflow.settings import load_settings

    settings = load_settings()
    processes.require_free(settings.api_host, settings.api_port, "STREAMFLOW_API_PORT")
    if settings.mlflow_tracking_uri is None:
        processes.require_free("127.0.0.1", settings.mlflow_port, "STREAMFLOW_MLFLOW_PORT")
    with processes.interrupted_by_sigterm(), opened() as platform:
        asking = api_server.require_keys(platform.database, settings.api_host, datetime.now(UTC))
        platform.registry.prepare()
        _tell_part("PostgreSQL", "embedded" if not settings.database_url else "yours", json)
        commands = [servers.api_server(platform, settings.api_port)]
        if settings.mlflow_tracking_uri is None:
            commands.append(servers.mlflow_server(platform, settings.mlflow_port))
        else:
            _tell_part("MLflow", f"{settings.mlflow_tracking_uri} (yours)", json)
        with processes.running(commands) as children:
            for child in children:
                child.wait_until_ready()
                url = child.command.ready_url.removesuffix("/health")
                _tell_part(child.command.name, f"{url} (log: {child.command.log})", json)
            _tell_part("access", asking, json)
            processes.supervise(children, lambda line: _tell_part("restarted", line, json))


def _tell_part(name: str, where: str, as_json: bool) -> None:
    line = json_module.dumps({"name": name, "where": where}) if as_json else f"{name:<11} {where}"
    print(line, flush=True)


@app.command(epilog="Example: streamflow status")
def status(json: Json = False) -> None:
    """What runs, what has been loaded, and which version is in Production."""
    from streamflow.operations import status as report
    from streamflow.settings import load_settings

    answer = report.look(load_settings())
    rows = [[part.name, part.state, part.detail] for part in answer]
    columns = ["part", "state", ""]
    show([asdict(part) for part in answer], json, lambda: table("StreamFlow", columns, rows))


@app.command(epilog="Example: streamflow demo --users 1000")
def demo(
    users: Annotated[int, typer.Option(help="Entities to generate.")] = 7043,
    once: Annotated[bool, typer.Option(help="Stop after the first prediction.")] = False,
    api: Annotated[
        str | None, typer.Option(help="Address of an API that runs already; starts no server.")
    ] = None,
    json: Json = False,
) -> None:
    """From nothing to a served prediction in one go; Ctrl-C stops it all."""
    from streamflow.operations import demo as story
    from streamflow.operations import processes

    started = time.monotonic()

    def tell(line: str) -> None:
        if not json:
            print(f"{time.monotonic() - started:6.1f} s  {line}", flush=True)

    with processes.interrupted_by_sigterm(), opened() as platform:
        tell("PostgreSQL is up")
        if api is not None:
            done = story.on_stack(platform, users, operator(), tell, api)
            show(asdict(done), json, lambda: _tell_demo(done))
            return
        with story.running(platform, users, operator(), tell) as (done, children):
            show(asdict(done), json, lambda: _tell_demo(done))
            sys.stdout.flush()
            if not once:
                if not json:
                    print("\nCtrl-C stops everything.", flush=True)
                processes.supervise(children, tell)


def _tell_demo(done: Any) -> None:
    print(f"\nPOST {done.api}/predict")
    print(json_module.dumps(done.prediction, indent=2))
    print(f"\nAPI docs   {done.api}/docs")
    print(f"MLflow UI  {done.mlflow}")
