"""How `run-month` ends: an exit code for schedulers, and a document that says the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_case
from tests.monthly_machines import use_case
from tests.statements import execute
from typer.testing import CliRunner

from streamflow.bootstrap import platform
from streamflow.cli.main import app
from streamflow.cli.month import run_month as command
from streamflow.pipeline.apply import apply
from streamflow.platform import Platform
from streamflow.settings import load_settings
from streamflow.use_case import Generation, Retraining

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_plots")]

DAYS = ("2024-01-31", "2024-02-29")
Ended = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("months")
    tiny_case.generate(Generation(folder, users=700, months=2, seed=11))
    return folder


@pytest.fixture
def ready(
    prepared_database: str, new_database: Callable[..., str], tmp_path: Path
) -> Iterator[Platform]:
    settings = load_settings(
        home=tmp_path / "home",
        database_url=new_database(prepared_database),
        use_case="tests.monthly_machines",
    )
    with platform(settings) as opened:
        apply(opened)
        yield opened


@pytest.fixture
def month(ready: Platform, months: Path, monkeypatch: pytest.MonkeyPatch) -> Ended:
    """Runs a month by its number, and returns what it said. `folder` has its files, and `rules` are
    other ones of the use case."""

    def run(number: int, *options: str, folder: Path | None = None, **rules: Any) -> dict[str, Any]:
        @contextmanager
        def opened() -> Iterator[Platform]:
            yield replace(ready, use_case=replace(use_case, **rules))

        monkeypatch.setattr(command, "open_platform", opened)
        files = str(folder or months / f"month_{number:03}")
        done = CliRunner().invoke(
            app, ["run-month", files, "--as-of", DAYS[number], "--json", *options]
        )
        said: dict[str, Any] = json.loads(done.stdout)
        assert done.exit_code == said["exit_code"]
        return said

    return run


def test_files_that_are_not_there_yet_end_it_with_the_code_for_that(
    ready: Platform, month: Ended, tmp_path: Path
) -> None:
    for options, code, status in (
        (("--skip-code", "99"), 99, "waiting"),
        ((), 1, "failed"),
    ):
        said = month(0, *options, folder=tmp_path / "month")
        assert (said["exit_code"], said["status"]) == (code, status)
        assert (said["error"], said["changed"], said["steps"]) == ("missing_files", False, [])
    found = execute(ready.database, "SELECT count(*) AS rows FROM streamflow.ingestions")
    assert found.fetchall() == [{"rows": 0}]


def test_a_file_that_is_wrong_is_a_failure_and_the_same_command_goes_on(
    month: Ended, months: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "month"
    shutil.copytree(months / "month_000", folder)
    wrong = folder / "readings.csv"
    wrong.write_text(wrong.read_text() + "m-9999,warm,0,\n")
    said = month(0, "--skip-code", "99", folder=folder)
    assert (said["exit_code"], said["status"]) == (1, "failed")
    assert said["error"] == "contract_violation"
    assert said["next"]
    shutil.copy(months / "month_000" / "readings.csv", wrong)
    said = month(0, "--skip-code", "99", folder=folder)
    assert (said["exit_code"], said["status"]) == (0, "done")


def test_gates_that_refuse_the_challenger_leave_all_else_of_the_month_done(
    ready: Platform, month: Ended
) -> None:
    retraining = Retraining(fewest_new_labels=100)
    assert month(0)["version"] == 1
    said = month(1, acceptance={"auc": 0.999}, retraining=retraining)
    assert (said["exit_code"], said["status"]) == (3, "refused")
    assert (said["version"], said["challenger"]) == (1, 2)
    outcomes = {step["step"]: step["outcome"] for step in said["steps"]}
    refused = [name for name, outcome in outcomes.items() if outcome == "refused"]
    assert refused == ["gates", "promote"]
    assert {outcomes[name] for name in ("monitor", "score", "explain", "report")} == {"done"}
    report = Path(said["report"])
    assert DAYS[1] in report.name
    (copy,) = ready.artifacts.rglob(f"artifacts/reports/{report.name}")
    assert copy.read_bytes() == report.read_bytes()
    scored = execute(
        ready.database, "SELECT version, entities FROM streamflow.scorings ORDER BY as_of"
    )
    assert scored.fetchall() == [{"version": 1, "entities": 700}] * 2
    # Again, it ends as it did.
    again = month(1, acceptance={"auc": 0.999}, retraining=retraining)
    assert (again["exit_code"], again["changed"]) == (3, False)


def test_an_alarm_counts_more_than_a_refused_challenger(
    month: Ended, months: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "month"
    shutil.copytree(months / "month_001", folder)
    file = folder / "readings.csv"
    header, *rows = file.read_text().splitlines()
    cells = [row.split(",") for row in rows]
    warmer = [[one, f"{float(heat) * 1.3}", *others] for one, heat, *others in cells]
    file.write_text("\n".join([header, *map(",".join, warmer)]) + "\n")
    month(0)
    retraining = Retraining(fewest_new_labels=100)
    said = month(1, folder=folder, acceptance={"auc": 0.999}, retraining=retraining)
    assert (said["exit_code"], said["status"]) == (4, "alarms")
    assert "refused" in {step["outcome"] for step in said["steps"]}
    assert "temperature_c" in {one["what"] for one in said["alarms"]}
