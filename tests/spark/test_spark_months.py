"""Months by the command alone on Spark: they leave what they leave on PostgreSQL."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e import forked
from tests.killing import Place
from tests.left_by_months import left
from tests.month_files import month_end
from tests.spark.cluster import Cluster

from streamflow.bootstrap import platform
from streamflow.settings import load_settings

USE_CASE = "tests.machines_of_two_months"
MONTHS, MACHINES = 2, 300
# Done; but for a challenger; with alarms.
GOOD_ENDS = (0, 3, 4)


@dataclass(frozen=True)
class Team:
    """A home and a database, and how its commands read history."""

    place: Place
    environment: dict[str, str]

    def told(self, *arguments: str) -> Any:
        """What the command says at its end."""
        command = (*arguments, "--json")
        done = forked.run(command, self.environment, self.place.home, patience=900)
        assert done.returncode in GOOD_ENDS, f"{arguments}: {done.stdout}"
        return json.loads(done.stdout.splitlines()[-1].replace(str(self.place.home), "home"))

    def data_hashes(self) -> list[str]:
        """Of the training sets, the newest first."""
        settings = load_settings(
            home=self.place.home, database_url=self.place.url, use_case=USE_CASE
        )
        with platform(settings) as ready:
            return [run.tags["streamflow.data_hash"] for run in ready.registry.runs()]


MakeTeam = Callable[..., Team]


@pytest.fixture
def team(
    cluster: Cluster,
    environment: dict[str, str],
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path: Path,
) -> MakeTeam:
    """Makes a team by the engine that its commands use, and where history is."""

    def make(engine: str, history: str = "postgres") -> Team:
        place = Place(new_database(prepared_database), tmp_path / engine)
        place.home.mkdir()
        own = {
            **environment,
            "STREAMFLOW_HOME": str(place.home),
            "STREAMFLOW_DATABASE_URL": place.url,
            "STREAMFLOW_USE_CASE": USE_CASE,
            "STREAMFLOW_ENGINE": engine,
            "STREAMFLOW_HISTORY": history,
            "STREAMFLOW_SPARK_REMOTE": cluster.url,
        }
        return Team(place, own)

    return make


LONG = pytest.mark.skipif(
    "STREAMFLOW_LONG_TESTS" not in os.environ, reason="STREAMFLOW_LONG_TESTS=1"
)
# Of what commands say: when it was done, and how fast a model answered then.
ITS_OWN = {"known_at", "made_at", "run_id"}
OF_TIME = "latency"


def alike(said: Any) -> Any:
    """What was said, without what is another one's at another time."""
    if isinstance(said, dict):
        return {name: alike(one) for name, one in said.items() if name not in ITS_OWN}
    if isinstance(said, list):
        gates = [one.get("gate") if isinstance(one, dict) else None for one in said]
        return [alike(one) for one, gate in zip(said, gates, strict=True) if gate != OF_TIME]
    return said


def applications(cluster: Cluster) -> set[str]:
    """Those that had an executor on one of the workers."""
    return {folder.name for folder in cluster.folder.glob("*/app-*")}


@pytest.mark.parametrize("in_files", [False, pytest.param(True, marks=LONG)])
def test_months_on_spark_leave_what_they_leave_on_postgresql(
    team: MakeTeam, cluster: Cluster, tmp_path: Path, in_files: bool
) -> None:
    history = f"file://{tmp_path}/history" if in_files else "postgres"
    here, there = team("postgres"), team("spark", history)
    data, before = tmp_path / "data", applications(cluster)
    here.told("generate", str(data), "--users", str(MACHINES), "--months", str(MONTHS))
    said: list[list[Any]] = []
    for one in (here, there):
        one.told("apply")
        done = []
        for number in range(MONTHS):
            month = (str(data / f"month_{number:03}"), "--as-of", str(month_end(number)))
            done.append(one.told("run-month", *month))
        # It says what `run-month` has found.
        done.append(one.told("monitor", "--as-of", str(month_end(MONTHS - 1)), "--version", "1"))
        said.append(done)
    assert len(applications(cluster) - before) >= MONTHS
    assert [month["challenger"] for month in said[0][:MONTHS]] == [*range(1, MONTHS + 1)]
    assert alike(said[0]) == alike(said[1])
    assert len(here.data_hashes()) == MONTHS
    assert here.data_hashes() == there.data_hashes()
    found = left(there.place)
    for name, rows in left(here.place).items():
        # With each month as a partition of its own.
        if in_files and name.startswith("failures.") and "_history" in name:
            assert name not in found
        else:
            assert found[name] == rows, name
