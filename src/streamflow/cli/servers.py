"""The commands `serve`, `console`, `up`, `status` and `demo`, which run servers or look at them."""

from __future__ import annotations

import json as json_module
import os
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.terminal import Json, open_platform, operator, print_result, print_table
from streamflow.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from streamflow.operations.demo import Demo

app = typer.Typer()


@app.command(epilog="Example: streamflow serve --port 8001")
def serve(
    host: Annotated[str | None, typer.Option(help="Default: STREAMFLOW_API_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: STREAMFLOW_API_PORT.")
    ] = None,
    mirror: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            metavar="PERCENT",
            help="Which share of the predictions the version in Staging scores too. Default: "
            "STREAMFLOW_MIRROR.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Serve predictions over HTTP in the foreground; follows Production without a restart."""
    from streamflow.operations import api_server, processes
    from streamflow.settings import load_settings

    if mirror is not None:  # for this process and its workers
        os.environ["STREAMFLOW_MIRROR"] = str(mirror)
    settings = load_settings()
    chosen_host, chosen_port = host or settings.api_host, port or settings.api_port
    api_server.require_free_port(chosen_host, chosen_port)
    # uvicorn raises SIGTERM again after it stopped; as KeyboardInterrupt, it stops PostgreSQL too.
    with processes.interrupted_by_sigterm(), open_platform(even_without_database=True) as platform:
        try:
            access = api_server.require_keys(platform.database, chosen_host, datetime.now(UTC))
        except DatabaseUnavailable as error:
            access = f"not ready, and tried again by itself: {error.message}"
        url = f"http://{chosen_host}:{chosen_port}"
        result = {"url": url, "access": access}
        print_result(result, json, lambda: print(f"API: {url}/docs; {access}", flush=True))
        api_server.serve(platform, chosen_host, chosen_port)


@app.command(epilog="Example: streamflow console --port 8081")
def console(
    host: Annotated[str | None, typer.Option(help="Default: STREAMFLOW_CONSOLE_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: STREAMFLOW_CONSOLE_PORT.")
    ] = None,
    json: Json = False,
) -> None:
    """Web pages for people, in the foreground: the state of everything, everyone's scores."""
    from streamflow.console import server
    from streamflow.operations import api_server, processes
    from streamflow.settings import load_settings

    settings = load_settings()
    chosen_host, chosen_port = host or settings.console_host, port or settings.console_port
    processes.require_free(chosen_host, chosen_port, "STREAMFLOW_CONSOLE_PORT")
    with processes.interrupted_by_sigterm(), open_platform() as platform:
        access = api_server.require_keys(
            platform.database, chosen_host, datetime.now(UTC), "STREAMFLOW_CONSOLE_HOST"
        )
        url = f"http://{chosen_host}:{chosen_port}"
        result = {"url": url, "access": access}
        print_result(result, json, lambda: print(f"Console: {url}; {access}", flush=True))
        server.serve(platform, chosen_host, chosen_port)


@app.command(epilog="Example: streamflow up")
def up(json: Json = False) -> None:
    """Run PostgreSQL, MLflow, the API and the console until Ctrl-C; what ends is started again."""
    from streamflow.operations import api_server, processes, servers
    from streamflow.settings import load_settings

    settings = load_settings()
    processes.require_free(settings.api_host, settings.api_port, "STREAMFLOW_API_PORT")
    console_host, console_port = settings.console_host, settings.console_port
    processes.require_free(console_host, console_port, "STREAMFLOW_CONSOLE_PORT")
    if settings.mlflow_tracking_uri is None:
        processes.require_free("127.0.0.1", settings.mlflow_port, "STREAMFLOW_MLFLOW_PORT")
    with processes.interrupted_by_sigterm(), open_platform() as platform:
        access = api_server.require_keys(platform.database, settings.api_host, datetime.now(UTC))
        api_server.require_keys(
            platform.database, console_host, datetime.now(UTC), "STREAMFLOW_CONSOLE_HOST"
        )
        platform.registry.prepare()
        _print_part("PostgreSQL", "embedded" if not settings.database_url else "yours", json)
        commands = [
            servers.api_server(platform, settings.api_port),
            servers.console_server(platform, console_port),
        ]
        if settings.mlflow_tracking_uri is None:
            commands.append(servers.mlflow_server(platform, settings.mlflow_port))
        else:
            _print_part("MLflow", f"{settings.mlflow_tracking_uri} (yours)", json)
        with servers.running(platform, commands) as children:
            for child in children:
                child.wait_until_ready()
                url = child.command.ready_url.removesuffix("/health")
                _print_part(child.command.name, f"{url} (log: {child.command.log})", json)
            _print_part("access", access, json)
            processes.supervise(
                servers.supervised(platform, children),
                lambda message: _print_part("restarted", message, json),
            )


def _print_part(name: str, where: str, as_json: bool) -> None:
    line = json_module.dumps({"name": name, "where": where}) if as_json else f"{name:<11} {where}"
    print(line, flush=True)


@app.command(epilog="Example: streamflow status")
def status(json: Json = False) -> None:
    """What runs, what has been loaded, and which version is in Production."""
    from streamflow.operations import status as status_report
    from streamflow.settings import load_settings

    parts = status_report.status(load_settings())
    rows = [[part.name, part.state, part.detail] for part in parts]
    columns = ["part", "state", ""]
    result = [asdict(part) for part in parts]
    print_result(result, json, lambda: print_table("StreamFlow", columns, rows))


@app.command(epilog="Example: streamflow demo --users 1000")
def demo(
    users: Annotated[int, typer.Option(min=1, help="Entities to generate.")] = 7043,
    once: Annotated[bool, typer.Option("--once", help="Stop after the first prediction.")] = False,
    api: Annotated[
        str | None, typer.Option(help="Address of an API that runs already; starts no server.")
    ] = None,
    json: Json = False,
) -> None:
    """From nothing to a served prediction in one go; Ctrl-C stops it all."""
    from streamflow.operations import demo as operation
    from streamflow.operations import processes, servers

    started = time.monotonic()

    def progress(line: str) -> None:
        if not json:
            print(f"{time.monotonic() - started:6.1f} s  {line}", flush=True)

    with processes.interrupted_by_sigterm(), open_platform() as platform:
        progress("PostgreSQL is up")
        if api is not None:
            done = operation.with_running_api(platform, users, operator(), progress, api)
            print_result(asdict(done), json, lambda: _print_demo(done))
            return
        with operation.running(platform, users, operator(), progress) as (done, children):
            print_result(asdict(done), json, lambda: _print_demo(done))
            sys.stdout.flush()
            if not once:
                if not json:
                    print("\nCtrl-C stops everything.", flush=True)
                processes.supervise(servers.supervised(platform, children), progress)


def _print_demo(done: Demo) -> None:
    print(f"\nPOST {done.api}/predict")
    print(json_module.dumps(done.prediction, indent=2))
    print(f"\nAPI docs   {done.api}/docs")
    print(f"MLflow UI  {done.mlflow}")
    print(f"Console    {done.console}")
