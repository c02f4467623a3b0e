"""Who reads the documentation: a shell with a home of its own, whose servers are at free ports."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from tests.documented import ROOT, Shell, commands, try_page

DOCS = ROOT / "docs"

# By a server's command, the address that answers when it's up.
SERVERS = {
    "streamflow serve": "http://127.0.0.1:8000/ready",
    "streamflow up": "http://127.0.0.1:8000/ready",
    "feast -c feast serve": "http://127.0.0.1:6566/health",
}

# What was done before the guides begin.
FIRST_MODEL = (
    "streamflow generate data --users 7043 --months 2 --seed 42 --drift 0.5",
    "streamflow ingest data/month_000 --as-of 2024-01-31",
    "streamflow apply",
    "streamflow train --as-of 2024-01-31",
    'streamflow promote 1 --to production --why "first model"',
    "streamflow materialize",
)


@contextmanager
def reader(homes: Path, folder: Path, database: str = "", **replaced: str) -> Iterator[Shell]:
    """A shell with a home of its own, whose servers are at ports that are free; with the embedded
    server, or a database of another one."""
    ports = {name: _free_port() for name in ("8000", "5000", "8080", "6566")}
    environment = {
        "STREAMFLOW_HOME": str(homes / folder.name),
        "STREAMFLOW_API_PORT": ports["8000"],
        "STREAMFLOW_MLFLOW_PORT": ports["5000"],
        "STREAMFLOW_CONSOLE_PORT": ports["8080"],
        "STREAMFLOW_API_WORKERS": "1",
    }
    here = {f"127.0.0.1:{name}": f"127.0.0.1:{port}" for name, port in ports.items()}
    # Feast's server takes its port by an option alone.
    here["feast serve"] = f"feast serve --port {ports['6566']}"
    shell = Shell(folder, environment, {**here, **replaced})
    shell.run("unset STREAMFLOW_DATABASE_URL STREAMFLOW_MLFLOW_TRACKING_URI")
    if database:
        shell.run(f"export STREAMFLOW_DATABASE_URL={quote(database)}")
    try:
        yield shell
    finally:
        shell.close()


def prepare(shell: Shell, *several: str) -> None:
    """Run what was done before a page begins."""
    for one in several:
        code, output = shell.run(one)
        assert code == 0, f"{one}\n{output}"


@dataclass
class Pages:
    """The guides that one reader follows in one shell. `before` has, by a command's beginning, what
    a page tells in words; `wrong` is what isn't as the pages show it."""

    shell: Shell
    before: Mapping[str, str]
    wrong: list[str] = field(default_factory=list)

    def run(self, page: str, *, sections: str = "", without: str = "\0") -> None:
        """Run the page's commands, or those of the `sections` that are named, or not `without`."""
        found = [
            one
            for one in commands(DOCS / page)
            if (not sections or one.section in sections) and one.section not in without
        ]
        assert found
        self.wrong += try_page(self.shell, DOCS / page, found, before=self.before, servers=SERVERS)

    def serve(self, server: str) -> None:
        """Start a server that the pages take for granted."""
        url = SERVERS[server].replace("127.0.0.1:8000", self.shell.replaced["127.0.0.1:8000"])
        self.wrong += self.shell.serve(server, url, [])


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
