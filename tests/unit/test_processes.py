"""Child processes: real ones, that answer, die, leave children behind and are killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamflow.errors import InvalidSettings, PortInUse, ProcessFailed
from streamflow.operations import processes
from streamflow.operations.processes import (
    Child,
    Command,
    is_free,
    next_free,
    require_free,
    running,
)

# Listens on a port, says who it is, and has a child that outlives it unless somebody sees to it.
SERVER = """
import http.server, os, subprocess, sys

sleeper = subprocess.Popen([sys.executable, "-c", "import signal, time; "
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('asleep', flush=True); time.sleep(600)"],
    stdout=subprocess.PIPE)
sleeper.stdout.readline()
with open(sys.argv[2], "w") as file:
    file.write(f"{os.getpid()} {sleeper.pid}")
print("serving", flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()


http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be buried doesn't."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    return tmp_path / "pids"


@pytest.fixture
def command(tmp_path: Path, port: int, pids: Path) -> Iterator[Command]:
    yield Command(
        "the server",
        [sys.executable, "-c", SERVER, str(port), str(pids)],
        {"OF_OURS": "1"},
        f"http://127.0.0.1:{port}/health",
        tmp_path / "logs" / "server.log",
    )
    for pid in map(int, pids.read_text().split() if pids.exists() else []):
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def family(pids: Path) -> list[int]:
    """The server's process and its child's, as soon as it has written them."""
    until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    return [int(pid) for pid in pids.read_text().split()]


def test_a_port_in_use_is_told_with_the_variable_that_changes_it(taken: int, port: int) -> None:
    assert not is_free("127.0.0.1", taken)
    with pytest.raises(PortInUse, match=str(taken)) as refused:
        require_free("127.0.0.1", taken, "STREAMFLOW_API_PORT")
    assert f"STREAMFLOW_API_PORT={taken + 1}" in refused.value.next
    assert require_free("127.0.0.1", port, "STREAMFLOW_API_PORT") == port


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_an_address_of_another_machine_isnt_called_a_port_in_use(host: str) -> None:
    for find in (
        lambda: require_free(host, 8000, "STREAMFLOW_API_PORT"),
        lambda: next_free(host, 8000),
    ):
        with pytest.raises(InvalidSettings, match="No server can listen on"):
            find()


def test_the_next_free_port_is_never_one_in_use(taken: int) -> None:
    found = next_free("127.0.0.1", taken)
    assert taken < found < taken + 100


def test_a_hundred_ports_in_use_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(processes, "is_free", lambda host, port: tried.append(port))
    with pytest.raises(PortInUse, match="8000 to 8099"):
        next_free("127.0.0.1", 8000)
    assert tried == list(range(8000, 8100))
    tried.clear()
    with pytest.raises(PortInUse):
        next_free("127.0.0.1", 65530)
    assert max(tried) == 65535


def test_a_status_of_400_and_more_is_no_answer(command: Command) -> None:
    with running([command]) as (child,):
        child.wait_until_ready()
        assert processes.responds(command.ready_url)
        assert not processes.responds(command.ready_url.replace("/health", "/elsewhere"))
    assert not processes.responds(command.ready_url)
    assert not processes.responds("not a url")


def test_a_child_answers_while_the_block_runs_and_not_after(command: Command, pids: Path) -> None:
    with running([command]) as (child,):
        child.wait_until_ready()
        assert child.alive
        assert family(pids)[0] == child.pid
        assert os.getpgid(child.pid) == child.pid, "Ctrl-C at the terminal is for us alone"
    assert not child.alive
    assert "serving" in command.log.read_text()


def test_stopping_ends_grandchildren_that_wont_listen(command: Command, pids: Path) -> None:
    with running([command]):
        everyone = family(pids)
        assert all(map(is_alive, everyone))
    until(lambda: not any(map(is_alive, everyone)))


def test_an_error_in_the_block_stops_the_children_too(command: Command, pids: Path) -> None:
    with pytest.raises(KeyboardInterrupt), running([command]):
        everyone = family(pids)
        raise KeyboardInterrupt
    until(lambda: not any(map(is_alive, everyone)))


def test_a_command_that_cant_be_started_stops_those_before_it(
    command: Command, tmp_path: Path
) -> None:
    missing = Command("nothing", [str(tmp_path / "missing")], {}, command.ready_url, command.log)
    with pytest.raises(OSError), running([command, missing]):
        pass
    assert not processes.responds(command.ready_url)


def test_a_child_that_ends_is_told_with_the_end_of_its_log(command: Command) -> None:
    dying = Command(
        "the server",
        [sys.executable, "-c", "print('one'); print('no such table'); raise SystemExit(3)"],
        {},
        command.ready_url,
        command.log,
    )
    with (
        pytest.raises(ProcessFailed, match=r"the server ended \(3\)") as failed,
        running([dying]) as (child,),
    ):
        child.wait_until_ready()
    assert "no such table" in failed.value.message
    assert str(command.log) in failed.value.next


def test_a_child_that_never_answers_is_given_up(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "READY_SECONDS", 0.2)
    silent = Command(
        "the server",
        [sys.executable, "-c", "import time; time.sleep(600)"],
        {},
        command.ready_url,
        command.log,
    )
    with pytest.raises(ProcessFailed, match="isn't ready"), running([silent]) as (child,):
        child.wait_until_ready()
    assert not child.alive


def test_a_child_that_ended_is_started_again_with_its_log_kept(
    command: Command, pids: Path
) -> None:
    with running([command]) as (child,):
        child.wait_until_ready()
        assert not child.restart_if_ended()
        first = child.pid
        os.kill(first, signal.SIGKILL)
        until(lambda: not child.alive)
        assert child.restart_if_ended()
        child.wait_until_ready()
        assert child.pid != first
        assert child.restarts == 1
    assert command.log.read_text().count("serving") == 2


def test_what_a_child_left_behind_is_gone_before_its_started_again(
    command: Command, pids: Path
) -> None:
    """A worker that outlives its server holds the port that the next one needs."""
    with running([command]) as (child,):
        _, orphan = family(pids)
        pids.unlink()
        os.kill(child.pid, signal.SIGKILL)
        until(lambda: not child.alive)
        try:
            child.restart_if_ended()
            family(pids)
            until(lambda: not is_alive(orphan), seconds=10)
        finally:
            if is_alive(orphan):
                os.kill(orphan, signal.SIGKILL)


def test_the_supervisor_says_what_it_started_again_and_ends_with_sigterm(
    command: Command, pids: Path
) -> None:
    told: list[str] = []

    def tell(what: str) -> None:
        told.append(what)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with running([command]) as (child,):
        family(pids)
        threading.Timer(0, lambda: os.kill(child.pid, signal.SIGKILL)).start()
        with pytest.raises(KeyboardInterrupt):
            processes.supervise([child], tell)
    assert told == ["the server ended and was started again"]
    assert signal.getsignal(signal.SIGTERM) == before


PARENT = """
import sys
from pathlib import Path
from streamflow.operations.processes import Command, running

port, pids, log = sys.argv[1:4]
arguments = [sys.executable, "-c", sys.stdin.read(), port, pids]
command = Command("server", arguments, {}, f"http://127.0.0.1:{port}/health", Path(log))
with running([command]) as (child,):
    child.wait_until_ready()
    print("ready", flush=True)
    import time
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_child_ends_with_a_parent_that_was_killed(
    command: Command, port: int, pids: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(port), str(pids), str(pids.with_suffix(".log"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(SERVER)
        parent.stdin.close()
        assert parent.stdout.readline() == "ready\n"
        server, _ = family(pids)
        assert is_alive(server)
        parent.kill()
    until(lambda: not is_alive(server))


def test_a_child_is_what_was_asked_for(command: Command) -> None:
    asked = Command(
        "asked",
        [
            sys.executable,
            "-c",
            "import os, sys; print(os.environ['OF_OURS'], sys.stdin.read() == '')",
        ],
        {"OF_OURS": "given"},
        command.ready_url,
        command.log,
    )
    child = Child(asked)
    until(lambda: not child.alive)
    child.stop()
    assert command.log.read_text() == "given True\n"
