"""A Chromium, and consoles over homes in several states.

The browser is Debian's package `chromium`, or what STREAMFLOW_TEST_CHROMIUM names.
"""

from __future__ import annotations

import calendar
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import uvicorn
from playwright.sync_api import Browser, sync_playwright
from tests.e2e import forked

from streamflow.bootstrap import platform
from streamflow.console import server
from streamflow.settings import load_settings

REPOSITORY = Path(__file__).parents[2]
MONTHS = tuple(f"2024-{month:02}-{calendar.monthrange(2024, month)[1]}" for month in range(1, 13))
ENTITIES = 700


def chromium() -> str | None:
    """Where a Chromium is, None if there is none."""
    found = os.environ.get("STREAMFLOW_TEST_CHROMIUM") or shutil.which("chromium")
    return found or shutil.which("chromium-browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a Chromium there is nothing to look with."""
    if chromium() is None:
        for item in items:
            if "browser" in item.path.parts:
                item.add_marker(pytest.mark.skip("no Chromium: apt-get install chromium"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


@dataclass(frozen=True)
class Team:
    """A database and a home, of a team that has come so far."""

    url: str
    home: Path
    use_case: str = "tests.monthly_churn"

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "STREAMFLOW_HOME": str(self.home),
            "STREAMFLOW_DATABASE_URL": self.url,
            "STREAMFLOW_USE_CASE": self.use_case,
            "PYTHONPATH": str(REPOSITORY),
        }

    def do(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
        done = forked.run(arguments, self.environment(), self.home)
        assert done.returncode in allowed, done.stdout
        return done.stdout

    def new_key(self, *scopes: str, name: str = "ann") -> str:
        options = [word for scope in scopes for word in ("--scope", scope)]
        made = self.do("keys", "create", *options, "--name", name, "--json")
        key: str = json.loads(made.splitlines()[-1])["key"]
        return key


@dataclass(frozen=True)
class Works:
    """A team whose first month is done; `data` has the files of all months."""

    team: Team
    data: Path
    without_a_model: Team


@pytest.fixture(scope="session")
def works(
    prepared_database: str,
    new_database: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Works:
    """A team after its first month, and as it was before it had a model."""
    data, home = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("home")
    team = Team(new_database(prepared_database), home)
    options = ("--users", str(ENTITIES), "--months", str(len(MONTHS)), "--seed", "11")
    team.do("generate", str(data), *options)
    team.do("apply")
    team.do("ingest", str(data / "month_000"), "--as-of", MONTHS[0])
    before = Team(new_database(team.url), home)
    team.do("run-month", str(data / "month_000"), "--as-of", MONTHS[0], allowed=(0, 4))
    return Works(team, data, before)


@pytest.fixture(scope="session")
def teams(
    works: Works,
    prepared_database: str,
    new_database: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Team]:
    """By what they have: no month, a month without a model, one month, twelve months, an alarm."""
    team = works.team
    found = {
        "no month": Team(new_database(prepared_database), tmp_path_factory.mktemp("nothing")),
        "no model": works.without_a_model,
        "one month": Team(new_database(team.url), team.home),
    }
    months = Team(new_database(team.url), team.home)
    for number, as_of in enumerate(MONTHS[1:], 1):
        folder = str(works.data / f"month_{number:03}")
        months.do("run-month", folder, "--as-of", as_of, allowed=(0, 4))
    alarm = Team(new_database(months.url), team.home)
    with psycopg.connect(alarm.url) as connection:
        connection.execute(
            "INSERT INTO streamflow.alarms SELECT max(monitoring_id), 901, 'shift', "
            "'watch_hours_30d', 'critical', 0.9, 0.25, 'training', 'watch_hours_30d has moved "
            "far from what training saw: population stability index 0.90, the bound is 0.25.' "
            "FROM streamflow.monitorings"
        )
    return {**found, "months": months, "alarm": alarm}


@pytest.fixture(scope="session")
def approving(works: Works, new_database: Callable[..., str]) -> dict[str, Team]:
    """Two teams of one month with a second version, whose promotions are approved."""
    twice = Team(new_database(works.team.url), works.team.home)
    twice.do("train", "--as-of", MONTHS[0], "--random-state", "7")
    return {
        name: Team(new_database(twice.url), works.team.home, "tests.approved_churn")
        for name in ("with JavaScript", "without")
    }


Address = Callable[[Team], str]


@pytest.fixture(scope="session")
def console() -> Iterator[Address]:
    """Serves the console of a team, and returns its address."""
    with ExitStack() as stack:
        served: dict[str, str] = {}

        def serve(team: Team) -> str:
            if team.url not in served:
                settings = load_settings(
                    home=team.home, database_url=team.url, use_case=team.use_case
                )
                opened = stack.enter_context(platform(settings))
                served[team.url] = _served(stack, server.console(opened, "127.0.0.1"))
            return served[team.url]

        yield serve


def _served(stack: ExitStack, app: object) -> str:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", log_config=None)  # type: ignore[arg-type]
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.01)

    def stop() -> None:
        running.should_exit = True
        thread.join(20)

    stack.callback(stop)
    port = running.servers[0].sockets[0].getsockname()[1]
    return f"http://127.0.0.1:{port}"
