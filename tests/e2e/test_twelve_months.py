"""Twelve months in a row by `streamflow run-month` alone; and some that are killed and run again.

`STREAMFLOW_TEST_KILLS` is the number of random instants at which a month is killed (1).
"""

from __future__ import annotations

import csv
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests import killing
from tests.e2e import forked
from tests.json_schema import violations
from tests.left_by_months import left
from tests.month_files import month_end

pytestmark = pytest.mark.slow

MONTHS, KILLED_MONTHS, ENTITIES = 12, 3, 700
DOCS = Path(__file__).parents[2] / "docs"


@dataclass
class Company:
    """A home and a database of a team that runs the months."""

    place: killing.Place
    data: Path
    environment: dict[str, str]
    seconds: list[float] = field(default_factory=list)

    def do(self, *arguments: str, kill_after: float | None = None) -> Any:
        return forked.run(arguments, self.environment, self.place.home, kill_after)

    def month(self, number: int, kill_after: float | None = None) -> dict[str, Any]:
        """What the month says at its end; empty if it was killed."""
        folder, as_of = self.data / f"month_{number:03}", str(month_end(number))
        started = time.monotonic()
        done = self.do("run-month", str(folder), "--as-of", as_of, "--json", kill_after=kill_after)
        self.seconds.append(time.monotonic() - started)
        if done.returncode == -9:
            return {}
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert done.returncode == said["exit_code"], done.stdout
        assert done.returncode in (0, 4), done.stdout
        return said


MakeCompany = Callable[[str], Company]


@pytest.fixture(scope="module", params=["tests.monthly_churn", "tests.monthly_machines"])
def company(
    request: pytest.FixtureRequest,
    prepared_database: str,
    new_database: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> MakeCompany:
    """Makes a home with the definitions applied; all have the same files."""
    data = tmp_path_factory.mktemp("data")

    def make(name: str) -> Company:
        place = killing.Place(new_database(prepared_database), tmp_path_factory.mktemp(name))
        environment = {
            **os.environ,
            "STREAMFLOW_HOME": str(place.home),
            "STREAMFLOW_DATABASE_URL": place.url,
            "STREAMFLOW_USE_CASE": request.param,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        made = Company(place, data, environment)
        if not any(data.iterdir()):
            options = ("--users", str(ENTITIES), "--months", str(MONTHS), "--seed", "11")
            assert made.do("generate", str(data), *options).returncode == 0
        assert made.do("apply").returncode == 0
        return made

    return make


@dataclass
class Undisturbed:
    """A team after twelve months, what each said, and what the first ones had left."""

    team: Company
    said: list[dict[str, Any]]
    left: dict[str, Any]


@pytest.fixture(scope="module")
def undisturbed(company: MakeCompany) -> Undisturbed:
    team = company("undisturbed")
    said = [team.month(number) for number in range(KILLED_MONTHS)]
    of_first = left(team.place)
    said += [team.month(number) for number in range(KILLED_MONTHS, MONTHS)]
    return Undisturbed(team, said, of_first)


def test_twelve_months_by_the_command_alone(undisturbed: Undisturbed) -> None:
    team, said = undisturbed.team, undisturbed.said
    schema = json.loads((DOCS / "month.schema.json").read_text(encoding="utf-8"))
    for number, month in enumerate(said):
        assert violations(month, schema) == []
        assert (month["as_of"], month["changed"]) == (str(month_end(number)), True)
        assert month["version"] is not None
        outcomes = {step["step"]: step["outcome"] for step in month["steps"]}
        assert {outcomes[step] for step in ("ingest", "materialize", "monitor", "score")} == {
            "done"
        }
        report = Path(month["report"]).read_text()
        assert f"the month of {month_end(number)}" in report
    trained = [month["challenger"] for month in said if month["challenger"]]
    assert trained == [*range(1, len(trained) + 1)]
    assert 3 <= len(trained) <= 5  # the cool-down holds off the others
    rows = left(team.place)
    # What came true of each month, also of those whose challenger took over; not of the first,
    # which the only version has learned from.
    judged = {
        row["figures"]["month"]
        for row in rows["monitored"]
        if row["subject"] == "quality" and row["what"].startswith("all ")
    }
    assert judged == {str(month_end(number)) for number in range(1, MONTHS)}
    assert {row["as_of"] for row in rows["monitored"] if row["subject"] == "score"}
    scored = {(row["as_of"]) for row in rows["scores"]}
    assert len(scored) == MONTHS

    # Again, an old month and the newest: nothing changes.
    for number in (2, MONTHS - 1):
        again = team.month(number)
        assert not again["changed"], [one for one in again["steps"] if one["changed"]]
        assert again["status"] == said[number]["status"]
    assert left(team.place) == rows


def test_months_that_are_killed_and_run_again_end_as_if_undisturbed(
    undisturbed: Undisturbed, company: MakeCompany
) -> None:
    team, said = undisturbed.team, undisturbed.said
    killed = company("killed")
    instants = random.Random(killing.KILLS)
    kills: dict[int, list[float]] = {}
    for _ in range(killing.KILLS):
        kills.setdefault(instants.randrange(KILLED_MONTHS), []).append(instants.random())
    for number in range(KILLED_MONTHS):
        for share in kills.get(number, []):
            killed.month(number, kill_after=share * team.seconds[number])
            killing.until_all_have_left(killed.place)
        month = killed.month(number)
        for what in ("status", "version", "challenger", "alarms"):
            assert month[what] == said[number][what]
    found = left(killed.place)
    assert found.keys() == undisturbed.left.keys()
    assert [name for name in found if name.startswith("online.")]
    for name, rows in undisturbed.left.items():
        assert found[name] == rows, name


def test_an_export_that_is_killed_and_run_again_is_whole_and_recorded_once(
    undisturbed: Undisturbed,
) -> None:
    team = undisturbed.team
    as_of, home = str(month_end(MONTHS - 1)), team.place.home
    started = time.monotonic()
    assert team.do(*export(as_of, 200, "whole.csv")).returncode == 0
    seconds = time.monotonic() - started
    whole = lines_of(home / "whole.csv")
    instants = random.Random(killing.KILLS)
    for number in range(killing.KILLS):
        top, file = 100 + number, home / f"killed {number}.csv"
        file.write_text("what was there before")
        arguments = export(as_of, top, file.name)
        killed = team.do(*arguments, kill_after=instants.random() * seconds)
        killing.until_all_have_left(team.place)
        was = file.read_text()
        again = team.do(*arguments)
        assert again.returncode == 0, again.stdout
        # A list of fewer is the beginning of a list of more.
        assert lines_of(file) == whole[:top]
        assert was in ("what was there before", file.read_text()), killed.stdout
        with psycopg.connect(team.place.url) as connection:
            found = connection.execute(
                "SELECT count(DISTINCT list_id), count(*) FROM streamflow.lists "
                "JOIN streamflow.listed USING (list_id) WHERE (limits->>'top')::integer = %s",
                [top],
            ).fetchone()
        assert found == (1, top)
    left_over = {one.name for one in home.iterdir() if one.name.startswith((".killed", "killed"))}
    assert left_over == {f"killed {number}.csv" for number in range(killing.KILLS)}


def export(as_of: str, top: int, file: str) -> tuple[str, ...]:
    return ("export", "--as-of", as_of, "--top", str(top), "--output", file)


def lines_of(file: Path) -> list[dict[str, str]]:
    """The rows of a list without its own number."""
    with file.open(encoding="utf-8", newline="") as content:
        rows = list(csv.DictReader(content))
    for row in rows:
        del row["list"]
    return rows
