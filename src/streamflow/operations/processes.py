"""Child processes of `up` and `demo`: started, watched, restarted; they end with this process."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from streamflow.errors import InvalidSettings, PortInUse, ProcessFailed, ServiceUnavailable
from streamflow.log import rotate
from streamflow.private_files import make_folder, open_private
from streamflow.progress import Progress

READY_SECONDS = 60
STOP_SECONDS = 10
TAIL_BYTES = 2000
SUPERVISE_SECONDS = 0.5


@dataclass(frozen=True)
class Command:
    """A server to run: a GET of `ready_url` returns status 200 once it can be used."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    ready_url: str
    log: Path
    # More variables, as they are when it starts; when they change, it has to be started again.
    changing_environment: Callable[[], Mapping[str, str]] = dict


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on the port."""
    return _bind_error(host, port) is None


def _bind_error(host: str, port: int) -> OSError | None:
    """Why no server could listen on the port, if none could."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def _require_address(host: str, port: int) -> None:
    error = _bind_error(host, port)
    if error is not None and error.errno != errno.EADDRINUSE:
        raise InvalidSettings(
            f"No server can listen on {host!r}, port {port}: {error.strerror}.",
            "Choose an address of this machine, such as 127.0.0.1, with `--host` or "
            "STREAMFLOW_API_HOST, and a port above 1023.",
        )


def require_free(host: str, port: int, variable: str) -> int:
    """Return the port. Raises PortInUse, which names the setting `variable`, or InvalidSettings if
    the host isn't this machine or the port isn't for everybody."""
    if not is_free(host, port):
        _require_address(host, port)
        raise PortInUse(
            f"Port {port} on {host} is in use.",
            f"Stop what listens there, or choose another: {variable}={port + 1}.",
        )
    return port


def next_free(host: str, port: int) -> int:
    """The first free port of the hundred from `port` on. Raises PortInUse if there is none,
    InvalidSettings as `require_free` does."""
    # The system chooses port 0: that fails only for an address that no port can be had of.
    if _bind_error(host, 0) is None:
        for candidate in range(port, min(port + 100, 65536)):
            if is_free(host, candidate):
                return candidate
    _require_address(host, port)
    raise PortInUse(
        f"Ports {port} to {port + 99} on {host} are all in use.", "Stop what listens there."
    )


def responds(url: str, seconds: float = 2.0) -> bool:
    """Whether a GET of the URL returns a status below 400 within that time."""
    try:
        with urllib.request.urlopen(url, timeout=seconds):
            return True
    except (OSError, ValueError):
        return False


class Child:
    """A running server, in its own process group, which ends with this process."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.restarts = 0
        self._start()

    def _start(self) -> None:
        make_folder(self.command.log.parent)
        parent = os.getpid()
        self._environment = self.command.changing_environment()
        with open_private(self.command.log, "ab") as log:
            self._process = subprocess.Popen(
                list(self.command.arguments),
                env={**os.environ, **self.command.environment, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: end_with(parent),
            )

    @property
    def name(self) -> str:
        """What users call it."""
        return self.command.name

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Wait for `ready_url`, at most READY_SECONDS.

        Raises ProcessFailed with the end of its log if it isn't ready by then, or ends before.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not responds(self.command.ready_url):
            if not self.alive or time.monotonic() > deadline:
                problem = "isn't ready" if self.alive else f"ended ({self._process.returncode})"
                raise ProcessFailed(
                    f"{self.command.name} {problem}. Its log ends: {_tail(self.command.log)}",
                    f"Look into {self.command.log}.",
                )
            time.sleep(0.05)

    def restart_if_ended(self) -> bool:
        """Start the server again if its process ended, or if what it was started with has changed.

        Returns whether it was started again. A log that has grown long is put aside.
        """
        rotate(self.command.log)
        if self.alive:
            if self.command.changing_environment() == self._environment:
                return False
            self.stop()
        self.restarts += 1
        # A worker that outlived its server would hold the port that the new one needs.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._start()
        return True

    def stop(self) -> None:
        """End the whole process group: SIGTERM first, SIGKILL after STOP_SECONDS at the latest."""
        # SIGKILL is sent even if the child has ended: it ends grandchildren that ignored SIGTERM.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
                if number == signal.SIGKILL:
                    return


@contextmanager
def running(commands: Sequence[Command]) -> Iterator[list[Child]]:
    """Run the commands while the block runs; all are started together."""
    children: list[Child] = []
    try:
        for command in commands:
            children.append(Child(command))
        yield children
    finally:
        for child in reversed(children):
            child.stop()


class Supervised(Protocol):
    """A server that can be started again."""

    @property
    def name(self) -> str:
        """What users call it."""

    def restart_if_ended(self) -> bool:
        """Start it again if it ended; returns whether it did. Raises ServiceUnavailable."""


def supervise(servers: Sequence[Supervised], report: Progress) -> None:
    """Start servers that ended again, until SIGINT or SIGTERM; `report` gets a message of each.

    One that can't be started is tried again.
    """
    failed: set[str] = set()
    with interrupted_by_sigterm():
        while True:
            time.sleep(SUPERVISE_SECONDS)
            for server in servers:
                try:
                    if server.restart_if_ended():
                        report(f"{server.name} ended and was started again")
                    failed.discard(server.name)
                except (ServiceUnavailable, OSError) as error:
                    if server.name not in failed:
                        report(f"{server.name} ended and can't be started again: {error}")
                    failed.add(server.name)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block with KeyboardInterrupt, as Ctrl-C does, so that it cleans up."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_with(parent: int) -> None:
    """SIGTERM to this process when its parent ends, whose process id is `parent`."""
    # Children end even if the parent is killed; only Linux can do this.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


def _tail(log: Path) -> str:
    text = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
    return text.split("\n")[-1] if text else "nothing"
