"""A month from its files to Production: run again, disturbed, and while another one runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_case

from streamflow.bootstrap import platform
from streamflow.errors import StreamFlowError
from streamflow.history.files.month_folder import NotArrived
from streamflow.pipeline.apply import apply
from streamflow.pipeline.month.month_lock import MonthUnderWay, one_month
from streamflow.pipeline.month.run_month import Month, run_month
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.promotion import model_history
from streamflow.settings import Settings, load_settings
from streamflow.use_case import Generation

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
NOW = datetime(2024, 5, 1, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("months")
    tiny_case.generate(Generation(folder, users=900, months=2, seed=3))
    return folder


@pytest.fixture(scope="module")
def applied(
    prepared_database: str,
    new_database: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    settings = load_settings(
        home=tmp_path_factory.mktemp("month") / "home",
        database_url=new_database(prepared_database),
        use_case="tests.tiny_case",
    )
    with platform(settings) as opened:
        apply(opened)
    return settings


@pytest.fixture(scope="module")
def ready(applied: Settings) -> Iterator[Platform]:
    with platform(applied) as opened:
        yield opened


def run(
    ready: Platform, folder: Path, as_of: date = JANUARY, now: datetime = NOW, **how: Any
) -> Month:
    return run_month(ready, folder, as_of, how.pop("policy", "if-better"), "tester", now, **how)


def rows(ready: Platform) -> dict[str, Any]:
    """All that a month writes down."""
    with ready.database.connection() as connection:
        tables = (
            *("ingestions", "materializations", "model_history", "month_runs"),
            *("monitorings", "alarms", "scorings"),
        )
        found: dict[str, Any] = {
            table: connection.execute(f"SELECT * FROM streamflow.{table} ORDER BY 1, 2").fetchall()
            for table in tables
        }
    found["runs"] = sorted(one.run_id for one in ready.registry.runs())
    return found


def test_a_month_ends_as_if_undisturbed_after_a_failure_in_each_step_and_then_changes_nothing(
    ready: Platform, months: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failure(StreamFlowError):
        pass

    real = Database.execute
    failed: list[str] = []

    def failing(database: Database, name: str, *arguments: Any, **values: Any) -> Any:
        step = values.get("step")
        if name == "record_month_step" and step not in failed:
            failed.append(step)
            raise Failure(f"before {step} is written down", "again")
        return real(database, name, *arguments, **values)

    with pytest.raises(NotArrived):
        run(ready, months / "month_009")
    monkeypatch.setattr(Database, "execute", failing)
    done: Month | None = None
    while done is None:
        with suppress(Failure):
            done = run(ready, months / "month_000")
    assert sorted(failed) == sorted(one.step for one in done.steps)
    assert [one.outcome for one in done.steps] == ["done"] * len(done.steps)
    assert (done.version, done.challenger) == (1, 1)
    before = rows(ready)
    kinds = [one.kind for one in model_history.changes(ready.database, ready.registry.model)]
    assert kinds == ["promoted"]
    assert len(before["runs"]) == len(before["ingestions"]) == 1
    assert len(before["month_runs"]) == len(done.steps)

    again = run(ready, months / "month_000", now=datetime(2024, 5, 2, tzinfo=UTC))
    assert not again.changed
    assert {one.step: one.facts for one in again.steps} == {
        one.step: one.facts for one in done.steps
    }
    assert rows(ready) == before


def test_the_next_month_trains_a_challenger_that_the_policy_keeps_or_takes(
    ready: Platform, months: Path
) -> None:
    kept = run(ready, months / "month_001", FEBRUARY, policy="never")
    assert (kept.version, kept.challenger) == (1, 2)
    assert {one.step: one.outcome for one in kept.steps}["promote"] in ("refused", "not promoted")
    before = rows(ready)
    assert not run(ready, months / "month_001", FEBRUARY, policy="never").changed
    assert rows(ready) == before


def test_two_months_of_a_model_at_the_same_time_are_refused(ready: Platform, months: Path) -> None:
    before = rows(ready)
    with (
        one_month(ready.database, ready.registry.model),
        pytest.raises(MonthUnderWay, match="is under way"),
    ):
        run(ready, months / "month_000")
    assert rows(ready) == before
    assert not run(ready, months / "month_000").changed
