"""Which old runs may go, and what keeps the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from streamflow.promotion.change import Change
from streamflow.promotion.prunable import Protected, PrunableRun, prunable_runs
from streamflow.registry.records import ModelVersion, Run

NOW = datetime(2026, 6, 30, tzinfo=UTC)
NOBODY = Protected(rollback=(), retention=timedelta(days=180), in_log=())


def run(days_ago: int, status: str = "FINISHED") -> Run:
    started = (NOW - timedelta(days=days_ago)).timestamp()
    return Run(f"run-{days_ago}", status, started, {}, {}, {})


def version(number: int, days_ago: int, stage: str = "None") -> ModelVersion:
    return ModelVersion("model", number, f"run-{days_ago}", stage, (), {}, "a" * 64)


def promoted(number: int, days_ago: int, replaced: int | None = None) -> Change:
    at = NOW - timedelta(days=days_ago)
    return Change(
        "promoted", "model", number, "ada", "why", at, to_stage="Production", replaced=replaced
    )


def found(
    runs: list[Run],
    versions: list[ModelVersion],
    changes: list[Change] | None = None,
    protected: Protected = NOBODY,
    keep: int = 0,
) -> list[PrunableRun]:
    return prunable_runs(runs, versions, changes or [], protected, keep, timedelta(days=180), NOW)


def test_only_runs_beyond_the_newest_and_old_enough_are_named_the_oldest_first() -> None:
    runs = [run(10), run(200), run(300), run(400)]

    names = [one.run_id for one in found(runs, [], keep=2)]

    assert names == ["run-400", "run-300"]


def test_a_run_without_a_version_goes_and_one_under_way_is_not_looked_at() -> None:
    runs = [run(200, "RUNNING"), run(201, "KILLED")]

    assert [(one.run_id, one.reasons) for one in found(runs, [])] == [("run-201", ())]


@pytest.mark.parametrize("stage", ["Production", "Staging"])
def test_a_version_in_a_stage_stays(stage: str) -> None:
    (one,) = found([run(200)], [version(1, 200, stage)])

    assert one.reasons == (f"in {stage}",)


def test_a_version_that_a_rollback_would_take_stays() -> None:
    (one,) = found([run(200)], [version(1, 200)], protected=Protected((1,), timedelta(180), ()))

    assert one.reasons == ("a rollback would take it",)


def test_a_version_whose_predictions_are_in_the_log_stays() -> None:
    (one,) = found([run(200)], [version(1, 200)], protected=Protected((), timedelta(180), (1,)))

    assert one.reasons == ("its predictions are in the log",)


@pytest.mark.parametrize(("replaced_days_ago", "stays"), [(179, True), (181, False)])
def test_a_version_stays_that_was_in_production_within_the_retention(
    replaced_days_ago: int, stays: bool
) -> None:
    changes = [promoted(1, 300), promoted(2, replaced_days_ago, replaced=1)]

    (one,) = found([run(400)], [version(1, 400, "Archived")], changes)

    assert bool(one.reasons) is stays
