"""A real PostgreSQL for every test that asks for one, and a fresh database each time.

With STREAMFLOW_DATABASE_URL set, the tests make (and drop) databases of their own on that server;
without it, the embedded server is started for the session. With STREAMFLOW_ENGINE and
STREAMFLOW_HISTORY set, history is read and stored so: see `make test-engines`. Slow tests run with
STREAMFLOW_SLOW_TESTS (`make test-slow`), and with STREAMFLOW_TEST_MINUTES none of them begins after
so many minutes.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from streamflow.bootstrap import platform
from streamflow.platform import Platform
from streamflow.postgres import embedded_server, postmaster
from streamflow.scratch import scratch
from streamflow.settings import Settings, load_settings

REAL_MONTH = Path(__file__).parents[2] / "shared" / "data" / "month_000"
_numbers = itertools.count()

# Nothing here is asserted of time: a machine may be busy. The cases are the same each time, so
# that a failure is of the change that has it; the long tests look for cases that nobody has seen.
hypothesis.settings.register_profile(
    "any machine", deadline=None, derandomize="STREAMFLOW_LONG_TESTS" not in os.environ
)
hypothesis.settings.load_profile("any machine")


# Where the histories of these tests are: below a location, or in PostgreSQL.
HISTORIES = os.environ.get("STREAMFLOW_HISTORY") or "postgres"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the slow tests to those who ask for them, and those of a history in PostgreSQL to a run
    that has it there."""
    for item in items:
        if item.get_closest_marker("slow") and not os.environ.get("STREAMFLOW_SLOW_TESTS"):
            item.add_marker(pytest.mark.skip("slow: make test-slow"))
        stored = item.get_closest_marker("history_in_postgres")
        if stored and HISTORIES != "postgres":
            item.add_marker(pytest.mark.skip(f"not over Apache Iceberg: {stored.args[0]}"))


_BEGINNING = time.monotonic()
_MINUTES = float(os.environ.get("STREAMFLOW_TEST_MINUTES", "inf"))


@pytest.hookimpl(tryfirst=True)  # before a fixture of the test is made
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a slow test, saying so, where the time for them is over."""
    over = time.monotonic() - _BEGINNING > _MINUTES * 60
    if over and item.get_closest_marker("slow"):
        pytest.skip(f"slow: the {_MINUTES:g} minutes of STREAMFLOW_TEST_MINUTES are over")


@pytest.fixture(scope="module", autouse=True)
def place_of_histories(request: pytest.FixtureRequest) -> Iterator[None]:
    """A location of its own for the histories of each file of tests, if they aren't in PostgreSQL.

    A copy of a database has its history where the first one has it.
    """
    if HISTORIES == "postgres":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        place = f"{HISTORIES.rstrip('/')}/{os.getpid()}/{request.module.__name__}"
        patch.setenv("STREAMFLOW_HISTORY", place)
        yield
    if place.startswith("file://"):
        folder = Path(place.removeprefix("file://"))
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # not empty, or never made
            folder.parent.rmdir()


def beside(history: str, name: str) -> str:
    """A location of its own for the history of another database, if histories have locations."""
    return history if history == "postgres" else f"{history}/{name}"


@pytest.fixture(scope="session")
def homes() -> Iterator[Path]:
    """A folder for homes with a cluster: gone at the end, or with the next tests if it's killed.

    Not below pytest's own, which as root the server's account can't enter: clusters would be
    elsewhere then, and stay.
    """
    parent = Path(tempfile.gettempdir()) / f"streamflow-tests-{os.getuid()}"
    parent.mkdir(mode=0o755, exist_ok=True)
    assert parent.lstat().st_uid == os.getuid(), f"{parent} is somebody else's"
    with scratch(parent) as folder:
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def server_url(homes: Path) -> Iterator[str]:
    """A superuser's URL of a PostgreSQL server."""
    if given := os.environ.get("STREAMFLOW_DATABASE_URL"):
        yield given
        return
    # Feast and MLflow keep connections to each database that they have met.
    postmaster.SETTINGS = (*postmaster.SETTINGS, "--max_connections=400")
    with embedded_server.running(homes / "a home") as url:
        turn_off(url, "fsync", "full_page_writes", "synchronous_commit")
        yield url


def turn_off(url: str, *settings: str) -> None:
    """Processes are killed in these tests, machines aren't: the disk needn't be waited for."""
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in settings:
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        connection.execute("SELECT pg_reload_conf()")


def named(url: str, database: str) -> str:
    """The URL of another database on the same server."""
    before, _, query = url.partition("?")
    base = before.rsplit("/", 1)[0]
    return f"{base}/{database}" + (f"?{query}" if query else "")


def make_database(server_url: str, template: str = "template0") -> str:
    """The URL of a new database on that server, empty or a copy of the one that is named, by its
    URL too."""
    name = f"streamflow_test_{os.getpid()}_{next(_numbers)}"
    source = name_of(template) if "://" in template else template
    with psycopg.connect(server_url, autocommit=True) as connection:
        # MLflow's connection pool keeps a session in what it made; nobody needs it any more.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [source]
        )
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(source)
            )
        )
    return named(server_url, name)


def name_of(url: str) -> str:
    return str(conninfo_to_dict(url)["dbname"])


def url_of(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


@pytest.fixture(scope="session")
def new_database(server_url: str) -> Iterator[Callable[..., str]]:
    """Makes a database, empty or a copy of another one, and returns its URL."""
    made: list[str] = []

    def make(template: str = "template0") -> str:
        made.append(make_database(server_url, template))
        return made[-1]

    yield make
    if "STREAMFLOW_DATABASE_URL" not in os.environ:
        return  # they go with the server
    with psycopg.connect(server_url, autocommit=True) as connection:
        for url in made:
            name = sql.Identifier(name_of(url))
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


OwnDatabase = Callable[[str], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def own_database(new_database: Callable[..., str], server_url: str) -> OwnDatabase:
    """A copy of a database for a block, dropped after it: Feast and MLflow keep connections to each
    database that they have met, and a server has a hundred."""

    @contextmanager
    def copied(template: str) -> Iterator[str]:
        url = new_database(template)
        yield url
        name = sql.Identifier(name_of(url))
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    return copied


@pytest.fixture(scope="session")
def database_url(new_database: Callable[..., str]) -> str:
    """An empty database that tests share; each uses schemas of its own."""
    return new_database()


@pytest.fixture(scope="session")
def prepared_database(
    new_database: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A database with MLflow's and our own tables and no row, to copy: making one takes seconds."""
    url = new_database()
    prepare(url, tmp_path_factory.mktemp("prepared"))
    return url


def prepare(url: str, home: Path) -> None:
    """Make MLflow's and our own tables in an empty database."""
    with platform(load_settings(home=home, database_url=url, use_case="churn")) as ready:
        ready.registry.prepare()


@pytest.fixture
def settings(new_database: Callable[..., str], prepared_database: str, tmp_path: Path) -> Settings:
    """Settings with a database and a home of their own."""
    home = tmp_path / "a home"
    return load_settings(home=home, database_url=new_database(prepared_database), use_case="churn")


@pytest.fixture
def ready(settings: Settings) -> Iterator[Platform]:
    """The platform of `settings`."""
    with platform(settings) as opened:
        yield opened


Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """What a command needs in its environment to work on `settings`."""
    return {
        **os.environ,
        "STREAMFLOW_HOME": str(settings.home),
        "STREAMFLOW_DATABASE_URL": url_of(settings),
        "STREAMFLOW_USE_CASE": settings.use_case,
        "STREAMFLOW_API_WORKERS": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }


@pytest.fixture
def cli(environment: dict[str, str], tmp_path: Path) -> Cli:
    """Runs `streamflow …` as a user would, in a process of its own."""

    def run(*arguments: str, **overrides: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "streamflow", *arguments],
            env={**environment, **overrides},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


@pytest.fixture(scope="module")
def without_plots() -> Iterator[None]:
    """No plots are drawn: they take longer than all else of a training of few rows."""
    from streamflow.training import plots

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "draw", lambda *arguments: None)
        yield


@pytest.fixture(scope="session")
def real_month() -> Path:
    """The real month, where it's at hand; it isn't part of the project."""
    if not REAL_MONTH.is_dir():
        pytest.skip("the real month isn't here: ../shared/data/month_000")
    return REAL_MONTH
