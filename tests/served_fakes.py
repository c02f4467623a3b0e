"""The API over fakes in a process of its own: `python -m tests.served_fakes SOCKET direct|plain`.

SOCKET is the number of a listening socket that the process has inherited. The log is standard
error.
"""

from __future__ import annotations

import socket
import sys

import uvicorn
from tests.fakes import FakeRegistry, api, model, stocked

from streamflow import log
from streamflow.api.http_protocol import http_protocol
from streamflow.operations.api_server import UVICORN_OPTIONS


def main(listening: socket.socket, direct: bool) -> None:
    log.write_json_to(sys.stderr)
    registry = FakeRegistry()
    registry.promote(1, model(0.1))
    # Nobody is refused for how busy the machine is.
    app = api(registry, stocked(), latency_budget_ms=60_000)
    config = uvicorn.Config(app, http=http_protocol(direct), **UVICORN_OPTIONS)
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2] == "direct")
