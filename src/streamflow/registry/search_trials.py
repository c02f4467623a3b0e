"""The trials of a search as runs of MLflow, each a child of the training's run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamflow.registry.mlflow_entities import PARENT_TAG, pages
from streamflow.registry.records import TrialRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PAGE = 1000


def record_trials(
    client: MlflowClient, experiment: str, run_id: str, trials: Sequence[TrialRecord]
) -> None:
    """Write each trial as a finished run, or a failed one."""
    from mlflow.entities import Metric, Param, RunTag

    for trial in trials:
        child = client.create_run(experiment, run_name=trial.name, tags={PARENT_TAG: run_id})
        client.log_batch(
            child.info.run_id,
            metrics=[
                Metric(name, value, 0, step)
                for name, values in trial.metrics.items()
                for step, value in enumerate(values)
            ],
            params=[Param(key, str(value)[:6000]) for key, value in trial.params.items()],
            tags=[RunTag(key, value) for key, value in trial.tags.items()],
        )
        status = "FAILED" if trial.failed else "FINISHED"
        client.set_terminated(child.info.run_id, status=status)


def trial_runs(client: MlflowClient, experiment: str, run_id: str) -> list[str]:
    """The ids of the run's trials."""
    found = pages(
        lambda token: client.search_runs(
            [experiment],
            filter_string=f"tags.`{PARENT_TAG}` = '{run_id}'",
            max_results=_PAGE,
            page_token=token,
        )
    )
    return [run.info.run_id for run in found]
