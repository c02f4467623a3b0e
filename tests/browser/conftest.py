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
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, sync_playwright
from tests import faulty_months
from tests.e2e import forked
from tests.logged_answers import log_answer
from tests.statements import execute

from streamflow.bootstrap import platform
from streamflow.console import server
from streamflow.settings import load_settings

REPOSITORY = Path(__file__).parents[2]
MONTHS = tuple(f"2024-{month:02}-{calendar.monthrange(2024, month)[1]}" for month in range(1, 13))
ENTITIES = 700
FAULTS_OF_THE_ALARM = (
    *("a feature scaled by 1.1", "minutes for hours, of a tenth", "a column wholly null"),
    "labels flipped for a segment",
)


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
        if as_of == MONTHS[-1]:
            alarm = with_an_alarm(months, works.data / "month_011", new_database, tmp_path_factory)
        months.do("run-month", folder, "--as-of", as_of, allowed=(0, 4))
    correct_and_break(months, works.data / "month_011", tmp_path_factory.mktemp("corrected"))
    answer_the_first(months)
    # A key closes the console to those without one.
    keys = Team(new_database(months.url), team.home)
    return {**found, "months": months, "alarm": alarm, "with keys": keys}


def with_an_alarm(
    team: Team,
    month: Path,
    new_database: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Team:
    """A copy of the team, whose newest month has been measured in another way, lacks the values of
    a column, and has another truth of a segment."""
    alarmed = Team(new_database(team.url), team.home)
    folder = tmp_path_factory.mktemp("faulty") / "month"

    def change(tables: faulty_months.Tables) -> None:
        for name in FAULTS_OF_THE_ALARM:
            faulty_months.FAULTS[name][0](tables)

    faulty_months.write_changed(month, folder, change)
    alarmed.do("run-month", str(folder), "--as-of", MONTHS[-1], allowed=(4,))
    answer_the_first(alarmed)
    return alarmed


def correct_and_break(team: Team, month: Path, folder: Path) -> None:
    """The newest month has a correction, and a list of what broke the contract."""

    def fee(text: str) -> faulty_months.Change:
        return faulty_months.in_table(
            "subscriptions", "monthly_fee", lambda number, now: text if number % 20 == 0 else now
        )

    faulty_months.write_changed(month, folder / "corrected", fee("19.95"))
    team.do("ingest", str(folder / "corrected"), "--as-of", MONTHS[-1])
    faulty_months.write_changed(month, folder / "broken", fee("<script>free</script>"))
    team.do("ingest", str(folder / "broken"), "--as-of", MONTHS[-1], allowed=(1,))


def answer_the_first(team: Team) -> None:
    """The prediction log has an answer about the one with the highest score."""
    now = datetime.fromisoformat(f"{MONTHS[-1]}T12:00+00:00") + timedelta(days=3)
    settings = load_settings(home=team.home, database_url=team.url, use_case=team.use_case)
    with platform(settings) as ready:
        first = execute(
            ready.database,
            "SELECT entity_id FROM streamflow.scores JOIN streamflow.scorings USING (scoring_id) "
            "WHERE rank = 1 ORDER BY as_of DESC, scoring_id DESC LIMIT 1",
        ).fetchone()
        assert first is not None
        log_answer(ready, first["entity_id"], "a-request", now)


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
