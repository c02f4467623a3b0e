"""Child processes of `up` and `demo`: started, watched, restarted, and gone when we go."""

from __future__ import annotations

import contextlib
import ctypes
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

from streamflow.errors import PortInUse, ProcessFailed

READY_SECONDS = 60
STOP_SECONDS = 10
TAIL_BYTES = 2000


@dataclass(frozen=True)
class Command:
    """A server to run: `ready_url` answers 200 once it can be used."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    ready_url: str
    log: Path


def is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def require_free(host: str, port: int, variable: str) -> int:
    """The port itself. Raises PortInUse."""
    if not is_free(host, port):
        raise PortInUse(
            f"Port {port} on {host} is in use.",
            f"Stop what listens there, or choose another: {variable}={port + 1}.",
        )
    return port


def next_free(host: str, port: int) -> int:
    """The first free port from `port` upwards. Raises PortInUse after a hundred."""
    for candidate in range(port, min(port + 100, 65536)):
        if is_free(host, candidate):
            return candidate
    raise PortInUse(
        f"Ports {port} to {port + 99} on {host} are all in use.", "Stop what listens there."
    )


def answers(url: str, seconds: float = 2.0) -> bool:
    """Whether a GET of the URL is answered with a status below 400."""
    try:
        with urllib.request.urlopen(url, timeout=seconds):
            return True
    except (OSError, ValueError):
        return False


class Child:
    """One running server, in a process group of its own that ends with us."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.restarts = 0
        self._start()

    def _start(self) -> None:
        self.command.log.parent.mkdir(parents=True, exist_ok=True)
        parent = os.getpid()
        with self.command.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.command.arguments),
                env={**os.environ, **self.command.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: _end_with(parent),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Raises ProcessFailed with the end of its log if it ends, or takes over a minute."""
        deadline = time.monotonic() + READY_SECONDS
        while not answers(self.command.ready_url):
            if not self.alive or time.monotonic() > deadline:
                what = "isn't ready" if self.alive else f"ended ({self._process.returncode})"
                raise ProcessFailed(
                    f"{self.command.name} {what}. Its log ends: {_tail(self.command.log)}",
                    f"Look into {self.command.log}.",
                )
            time.sleep(0.05)

    def restart_if_ended(self) -> bool:
        if self.alive:
            return False
        self.restarts += 1
        # A worker that outlived its server would hold the port that the new one needs.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._start()
        return True

    def stop(self) -> None:
        """Ask politely, wait, then make sure; the whole process group."""
        for how, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                if how == signal.SIGKILL:
                    return
        # A second, hard signal also reaches grandchildren that outlived the first.


@contextmanager
def running(commands: Sequence[Command]) -> Iterator[list[Child]]:
    """The commands' processes while the block runs, started together."""
    children: list[Child] = []
    try:
        for command in commands:
            children.append(Child(command))
        yield children
    finally:
        for child in reversed(children):
            child.stop()


def supervise(children: Sequence[Child], tell: Callable[[str], None]) -> None:
    """Watch until SIGINT or SIGTERM; a child that ends is started again after a second."""
    with interrupted_by_sigterm():
        while True:
            time.sleep(1.0)
            for child in children:
                if child.restart_if_ended():
                    tell(f"{child.command.name} ended and was started again")


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM stops the block as Ctrl-C does: by KeyboardInterrupt, so that all is cleaned up."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_with(parent: int) -> None:
    # Even a killed parent must leave nothing running; only Linux can promise that.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


def _tail(log: Path) -> str:
    text = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
    return text.split("\n")[-1] if text else "nothing"
