"""The embedded PostgreSQL, with real processes that come, leave and are killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import psycopg2
import pytest

from streamflow.errors import DatabaseUnavailable
from streamflow.postgres import embedded_server
from streamflow.postgres.database import Database
from streamflow.postgres.embedded_cluster import find_binaries
from streamflow.postgres.embedded_server import running, server_pid

USE_UNTIL_TOLD = """
import signal, sys
from pathlib import Path
from streamflow.postgres.embedded_server import running
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
with running(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.readline()
"""


def new_home(homes: Path, parent_mode: int, name: str = "home") -> Iterator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="streamflow täst ", dir=homes))
    parent.chmod(parent_mode)
    home = parent / name
    try:
        yield home
    finally:
        shutil.rmtree((home / "postgres").resolve(), ignore_errors=True)
        shutil.rmtree(parent)


@pytest.fixture(scope="module")
def shared_home(homes: Path) -> Iterator[Path]:
    """One cluster for the tests that don't mind what is in it: making one takes a second."""
    yield from new_home(homes, 0o755)


@pytest.fixture
def home(shared_home: Path) -> Iterator[Path]:
    yield shared_home
    assert server_pid(shared_home) is None, "the test left its server running"


@pytest.fixture
def fresh_home(homes: Path) -> Iterator[Path]:
    yield from new_home(homes, 0o755)


def start_user(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", USE_UNTIL_TOLD, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


@contextmanager
def user_process(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process inside `running`, until its standard input ends."""
    with start_user(home) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("postgresql://")
            yield process
        finally:
            process.kill()


def tell_to_leave(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=20)
    assert process.returncode == 0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ask(url: str, query: str) -> object:
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute(query).fetchone()
        return row[0] if row else None


def test_a_first_start_makes_a_database_that_answers(home: Path) -> None:
    with running(home) as url:
        assert (
            ask(url, "SELECT current_user || '/' || current_database()") == "streamflow/streamflow"
        )
        settings = {
            "server_encoding": "UTF8",
            "TimeZone": "UTC",
            "fsync": "on",
            "password_encryption": "scram-sha-256",
        }
        assert {name: ask(url, f"SHOW {name}") for name in settings} == settings
        assert ask(url, "SELECT datcollate FROM pg_database WHERE datname = 'streamflow'") == "C"
    assert server_pid(home) is None


def test_a_second_start_keeps_the_data(home: Path) -> None:
    with running(home) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with running(home) as url:
        assert ask(url, "SELECT answer FROM kept") == 42


def test_the_url_works_in_sqlalchemy_too(home: Path) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    with running(home) as url:
        engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
        engine.dispose()


def test_leaving_an_inner_use_leaves_the_outer_one_its_server(home: Path) -> None:
    with running(home) as outer:
        with running(home) as inner:
            assert inner == outer
        assert ask(outer, "SELECT 1") == 1


def test_two_processes_share_a_server_and_the_last_one_out_stops_it(home: Path) -> None:
    with user_process(home) as first, user_process(home) as second:
        server = server_pid(home)
        tell_to_leave(first)
        assert server_pid(home) == server
        with running(home) as url:
            assert ask(url, "SELECT 1") == 1
        assert server_pid(home) == server
        tell_to_leave(second)
        assert server_pid(home) is None


def test_ctrl_c_ends_the_process_and_not_the_server_of_another(home: Path) -> None:
    with user_process(home) as starter, running(home) as url:
        os.killpg(starter.pid, signal.SIGINT)  # what a terminal does
        starter.wait(20)
        assert ask(url, "SELECT 1") == 1


def test_ctrl_c_of_the_only_user_stops_the_server(home: Path) -> None:
    with user_process(home) as only:
        os.killpg(only.pid, signal.SIGINT)
        only.wait(20)
        assert server_pid(home) is None


def test_a_killed_users_server_is_adopted_and_then_stopped(home: Path) -> None:
    with user_process(home) as killed:
        killed.kill()
        killed.wait()
    orphan = server_pid(home)
    assert orphan is not None
    with running(home) as url:
        assert ask(url, "SELECT 1") == 1
        assert server_pid(home) == orphan
    assert server_pid(home) is None


def test_a_killed_server_is_started_again_with_its_data(home: Path) -> None:
    with running(home) as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE survivor AS SELECT 7 AS answer")
        server = server_pid(home)
        assert server is not None
        os.kill(server, signal.SIGKILL)
        with running(home) as again:
            assert ask(again, "SELECT answer FROM survivor") == 7


def kill_server(home: Path) -> None:
    server = server_pid(home)
    assert server is not None
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: server_pid(home) is None)


def test_a_killed_server_is_started_again_by_a_user_at_the_same_address(home: Path) -> None:
    with running(home) as url:
        assert not embedded_server.restart_if_ended(home)
        kill_server(home)
        assert embedded_server.restart_if_ended(home)
        assert ask(url, "SELECT 1") == 1


def test_users_find_a_server_that_was_started_again_at_another_port(home: Path) -> None:
    with running(home) as url, Database(lambda: embedded_server.current_url(home) or url) as users:
        port = int(str(psycopg.conninfo.conninfo_to_dict(url)["port"]))
        before = ask(url, "SELECT pg_postmaster_start_time()::text")
        assert users.row("current_database") == {"name": "streamflow"}
        kill_server(home)
        with socket.socket() as squatter:
            squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            squatter.bind(("127.0.0.1", port))
            squatter.listen()
            assert embedded_server.restart_if_ended(home)
        with suppress(DatabaseUnavailable):  # the connection that was lost
            users.row("current_database")
        assert users.row("current_database") == {"name": "streamflow"}
        assert users.url != url
        assert ask(users.url, "SELECT pg_postmaster_start_time()::text") != before


LIBPQ = {
    **{
        option.envvar.decode(): "nonsense"
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar
    },
    **{"PGSERVICEFILE": "/nonsense", "PGSYSCONFDIR": "/nonsense", "PGTZ": "nonsense"},
    **{"PGDATESTYLE": "nonsense", "PGGEQO": "nonsense", "PGPORT": "1"},
}


@pytest.mark.parametrize("variables", [LIBPQ, {"PGSERVICE": "x"}, {"PGOPTIONS": "-c fsync=off"}])
def test_variables_of_libpq_are_about_another_server(
    variables: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with running(home) as url, Database(url) as database:
        assert database.row("current_database") == {"name": "streamflow"}
        psycopg2.connect(url).close()
        programs, _ = find_binaries(None)
        subprocess.run([programs / "psql", "--command=SELECT 1", url], check=True)


def test_nobody_else_can_read_what_is_in_a_home(home: Path) -> None:
    with running(home):
        pass
    for path in (
        home / "logs",
        home / "locks",
        *(home / "logs").iterdir(),
        *(home / "locks").iterdir(),
    ):
        assert path.stat().st_mode & 0o077 == 0, path
    others = 0o011 if os.geteuid() == 0 else 0
    assert home.stat().st_mode & 0o077 == others


def test_a_pid_file_that_names_a_living_stranger_is_no_obstacle(home: Path) -> None:
    with running(home):
        pid_file = home / "postgres" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
            assert server_pid(home) is None
            with running(home) as url:
                assert ask(url, "SELECT 1") == 1
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_cluster_that_was_half_made_is_made_anew(fresh_home: Path) -> None:
    with start_user(fresh_home) as killed:
        wait_until((fresh_home / "postgres" / "partial" / "base").exists)
        killed.kill()
    assert not (fresh_home / "postgres" / "data").exists()
    with running(fresh_home) as url:
        assert ask(url, "SELECT 1") == 1
    assert not (fresh_home / "postgres" / "partial").exists()


def test_a_failure_in_the_block_passes_and_stops_the_server(home: Path) -> None:
    with pytest.raises(ZeroDivisionError), running(home):
        raise ZeroDivisionError
    assert server_pid(home) is None


def test_a_wrong_password_is_refused_on_the_socket_and_on_the_port(home: Path) -> None:
    with running(home) as url:
        password = (home / "postgres.password").read_text()
        port = psycopg.conninfo.conninfo_to_dict(url)["port"]
        by_port = f"postgresql://streamflow:{password}@127.0.0.1:{port}/streamflow"
        assert ask(by_port, "SELECT 1") == 1
        for address in (url, by_port):
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(address.replace(password, "wrong"))


def test_the_server_listens_on_the_loopback_address_alone(home: Path) -> None:
    with running(home) as url:
        assert ask(url, "SHOW listen_addresses") == "127.0.0.1"
        port = int(str(psycopg.conninfo.conninfo_to_dict(url)["port"]))
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", port), timeout=5).close()


def test_the_password_is_in_its_file_alone_and_for_its_owner_alone(home: Path) -> None:
    with running(home) as url:
        file = home / "postgres.password"
        assert file.stat().st_mode & 0o777 == 0o600
        password = file.read_text()
        assert password in url
        assert len(password) >= 20
        assert password not in (home / "logs" / "postgres.log").read_text()
        commands = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True)
        assert str((home / "postgres").resolve()) in commands.stdout
        assert password not in commands.stdout


def test_a_home_whose_path_is_too_long_for_a_socket_is_reached_by_port(homes: Path) -> None:
    for home in new_home(homes, 0o755, "long " * 20 + "home"):
        with running(home) as url:
            assert "@127.0.0.1:" in url
            assert ask(url, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have a home that the server can't")
def test_as_root_a_home_that_only_root_can_enter_keeps_its_cluster_elsewhere(homes: Path) -> None:
    for home in new_home(homes, 0o700):
        for _ in range(2):
            with running(home) as url:
                assert ask(url, "SELECT 1") == 1
                cluster = (home / "postgres").readlink()
                assert cluster.stat().st_mode & 0o777 == 0o700
                assert cluster.stat().st_uid != 0
        assert home.parent.stat().st_mode & 0o777 == 0o700


def test_a_cluster_of_another_version_is_refused_naming_both(home: Path) -> None:
    with running(home):
        version_file = home / "postgres" / "data" / "PG_VERSION"
    version = version_file.read_text()
    version_file.write_text("14\n")
    try:
        with pytest.raises(DatabaseUnavailable, match=rf"PostgreSQL 14, but .* {version.strip()}"):
            running(home).__enter__()
    finally:
        version_file.write_text(version)


def test_a_server_that_cannot_start_says_why(home: Path) -> None:
    with running(home):
        configuration = home / "postgres" / "data" / "postgresql.auto.conf"
    before = configuration.read_text()
    configuration.write_text("no_such_parameter = 1\n")
    try:
        with pytest.raises(DatabaseUnavailable, match="no_such_parameter"):
            running(home).__enter__()
    finally:
        configuration.write_text(before)


def test_a_log_that_has_grown_long_is_put_aside_at_the_next_start(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamflow.log.LONGEST_LOG_BYTES", 100)
    log = home / "logs" / "postgres.log"
    with running(home):
        pass
    for word in ("once", "twice"):
        log.write_text(f"{word} {'said ' * 100}")
        with running(home):
            assert log.with_name("postgres.log.1").read_text().startswith(word)
            assert "said" not in log.read_text()
            assert "ready to accept connections" in log.read_text()


def test_a_lost_password_is_named_and_not_replaced(home: Path) -> None:
    with running(home):
        file = home / "postgres.password"
    away = file.rename(home / "away")
    try:
        with pytest.raises(DatabaseUnavailable, match="password"):
            running(home).__enter__()
    finally:
        away.rename(file)


def test_a_folder_without_programs_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="No PostgreSQL 15 to 18 is in"):
        running(home, binaries=tmp_path).__enter__()


def test_a_server_that_doesnt_stop_when_told_is_told_louder_and_loses_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_server, "STOP_SECONDS", 0.0)
    with running(home) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE told_louder AS SELECT 1 AS number")
    assert server_pid(home) is None
    assert "received immediate shutdown" in (home / "logs" / "postgres.log").read_text()
    with running(home) as url:
        assert ask(url, "SELECT number FROM told_louder") == 1
