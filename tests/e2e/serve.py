"""An API from outside: `streamflow serve` as a process of its own."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from streamflow.operations import processes


@contextmanager
def serving(home: Path, environment: Mapping[str, str]) -> Iterator[processes.Child]:
    """A server that is ready, on a port that was free, with its log in `home`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = processes.Command(
        name="API",
        arguments=[sys.executable, "-m", "streamflow", "serve", "--port", str(port), "--json"],
        environment=dict(environment),
        ready_url=f"http://127.0.0.1:{port}/ready",
        log=home / "api.log",
    )
    with processes.running([serve]) as (child,):
        child.wait_until_ready()
        yield child
