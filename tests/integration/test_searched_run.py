"""A search's trials are runs of MLflow, and a re-creation repeats the search."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from churn.generator import generate
from streamflow.bootstrap import platform
from streamflow.lineage import recorded_run, reproduce
from streamflow.pipeline import train as training_run
from streamflow.pipeline.apply import apply
from streamflow.pipeline.ingest import ingest
from streamflow.settings import load_settings
from streamflow.training import plots
from streamflow.training.split import Choice
from streamflow.use_case import Generation

JANUARY = date(2024, 1, 31)
NOW = datetime(2024, 2, 5, 9, tzinfo=UTC)


@pytest.mark.slow
def test_the_search_is_recorded_trial_by_trial_and_found_again(
    new_database: Callable[..., str],
    prepared_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)  # they take longer than all else
    generate(Generation(tmp_path / "months", users=300, months=1, seed=7))
    url = new_database(prepared_database)
    settings = load_settings(home=tmp_path / "home", database_url=url, use_case="churn")
    with platform(settings) as ready:
        ingest(ready, tmp_path / "months" / "month_000", JANUARY, NOW, NOW, "test")
        apply(ready)
        # No trial begins after no time: of 50 that are asked for, one is made.
        choice = Choice(trials=50, search_minutes=0.0)
        hurried = training_run.train(ready, JANUARY, "logistic_regression", 42, NOW, choice=choice)
        assert hurried.searched is not None
        assert len(hurried.searched.trials) == 1
        done = training_run.train(
            ready, JANUARY, "logistic_regression", 42, NOW, choice=Choice(trials=4)
        )
        assert done.searched is not None
        registry = ready.registry
        assert {run.run_id for run in registry.runs()} == {hurried.run_id, done.run_id}

        trials = registry._client.search_runs(
            [registry.experiment()], f"tags.`mlflow.parentRunId` = '{done.run_id}'"
        )
        assert len(trials) == 4
        assert {run.info.status for run in trials} == {"FINISHED"}
        by_name = {run.info.run_name: run.data for run in trials}
        for one in done.searched.trials:
            told = by_name[f"trial {one.number}"]
            assert told.metrics["auc"] == one.auc
            assert told.params["model"] == one.model

        for run_id, trials_made, asked in ((hurried.run_id, 1, 50), (done.run_id, 4, 4)):
            run = registry.run(run_id)
            recorded = recorded_run.read(registry, run, tmp_path / run_id)
            search = recorded.lineage.configuration.search
            assert search is not None
            assert (search.asked, search.trials, search.seed) == (asked, trials_made, 42)
            assert search.space == {
                "logistic_regression.classify__C": "Range(low=0.001, high=10.0, log=True)"
            }
            again = reproduce.reproduce(ready, run, NOW)
            assert again.verdict == "identical", again.why

        registry.delete_run(done.run_id)
        assert not registry._client.search_runs(
            [registry.experiment()], f"tags.`mlflow.parentRunId` = '{done.run_id}'"
        )
