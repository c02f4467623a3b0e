"""The server process of an embedded cluster: found by its file postmaster.pid, or started."""

from __future__ import annotations

import os
import shlex
import socket
import struct
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from streamflow.errors import DatabaseUnavailable
from streamflow.log import rotate
from streamflow.postgres.embedded_cluster import Cluster, last_lines
from streamflow.private_files import open_private

START_SECONDS = 30.0
# A socket's path may have 107 bytes on Linux, 103 on macOS.
SOCKET_FOLDER_BYTES = 103 - len("/.s.PGSQL.65535")
# The protocol's SSLRequest: the shortest message with a response, and it needs no password.
SSL_REQUEST = struct.pack("!ii", 8, 80877103)

SETTINGS = (
    "--listen_addresses=127.0.0.1",
    "--unix_socket_permissions=0700",
    "--timezone=UTC",
    "--log_timezone=UTC",
    "--shared_buffers=128MB",
    "--max_connections=100",
    "--max_wal_size=2GB",
    "--jit=off",
)


@dataclass(frozen=True)
class Postmaster:
    """A server's first process. `socket_folder` is empty if it listens on 127.0.0.1 alone."""

    pid: int
    port: int
    socket_folder: str
    ready: bool

    def accepts_connections(self) -> bool:
        """Whether it responds to a message. A killed server's file can say `ready` too."""
        with suppress(OSError):
            if self.ready:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    connection.sendall(SSL_REQUEST)
                    return connection.recv(1) in (b"S", b"N")
        return False

    def url(self, password: str) -> str:
        """The URL of the database `streamflow` for its superuser."""
        # A socket if possible: no other user can connect to it, and it costs less than TCP. Its
        # path may be too long, or have characters that a URL can't have.
        start = f"postgresql://streamflow:{password}@"
        if self.socket_folder:
            folder = quote(self.socket_folder, safe="")
            return f"{start}/streamflow?host={folder}&port={self.port}&sslmode=disable"
        return f"{start}127.0.0.1:{self.port}/streamflow?sslmode=disable"


def postmaster_of(data: Path) -> Postmaster | None:
    """The server in `data` by its file postmaster.pid; None if that is missing or incomplete."""
    try:
        lines = os.fsdecode((data / "postmaster.pid").read_bytes()).split("\n") + [""] * 8
        pid, port = int(lines[0]), int(lines[3])
    except (OSError, ValueError):
        return None
    return Postmaster(pid, port, lines[4], lines[7].strip() == "ready") if pid > 0 else None


def start(home: Path, cluster: Cluster, programs: Path, server: IO[bytes]) -> Postmaster | None:
    """Start the server; None if it is still starting after START_SECONDS.

    Its processes inherit `server`, which the caller has locked. It listens on the port that it had
    last, if nobody else does: other processes know its address.
    """
    data, log = cluster.folder / "data", home / "logs" / "postgres.log"
    # No process of the server lives, because we hold its lock. After a reboot, or in a container,
    # the pid in the file can be another program's, and PostgreSQL would refuse to start.
    for left_over in (data / "postmaster.pid", *cluster.folder.glob(".s.PGSQL.*")):
        left_over.unlink(missing_ok=True)
    rotate(log)
    deadline = time.monotonic() + START_SECONDS
    for attempt in range(5):
        port = _free_port(_last_port(data) if attempt == 0 else 0)
        socket_folder = f"--unix_socket_directories={_socket_folder(cluster.folder)}"
        with open_private(log, "ab") as out:
            before = out.tell()
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-p", str(port), *SETTINGS, socket_folder],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=[server.fileno()],
                start_new_session=True,  # so that Ctrl-C in the terminal doesn't stop the server
                **cluster.options,
            )
        # Without a wait, the ended server would stay a zombie until this process ends.
        threading.Thread(target=process.wait, daemon=True).start()
        while process.poll() is None:
            postmaster = postmaster_of(data)
            if postmaster and postmaster.pid == process.pid and postmaster.accepts_connections():
                return postmaster
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)
        output = log.read_bytes()[before:]
        if b"Address already in use" not in output:
            break
    raise DatabaseUnavailable(
        f"The embedded PostgreSQL of {home} ended while it was starting: {last_lines(output)}",
        f"Look into {log}.",
    )


def _last_port(data: Path) -> int:
    """The port that the server in `data` was started with; 0 if it never was."""
    try:
        arguments = shlex.split((data / "postmaster.opts").read_text())
        return int(arguments[arguments.index("-p") + 1])
    except (OSError, ValueError, IndexError):
        return 0


def _free_port(wanted: int) -> int:
    """The port, or another one if somebody listens there."""
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no port of 127.0.0.1 is free")


def _socket_folder(folder: Path) -> str:
    """The setting's value, quoted; empty where the path is too long or can't stand in a URL."""
    name = str(folder)
    if len(os.fsencode(name)) > SOCKET_FOLDER_BYTES or "," in name or not name.isprintable():
        return ""
    return '"' + name.replace('"', '""') + '"'
