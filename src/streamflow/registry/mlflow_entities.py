"""MLflow's lists, runs and versions as ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from streamflow.registry.records import (
    EVALUATED,
    JUDGED_ROWS_TAG,
    MODEL_HASH_TAG,
    ModelVersion,
    Run,
)

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion


# MLflow's tag of a run that is a part of another one, with the id of that.
PARENT_TAG = "mlflow.parentRunId"


def pages(read: Callable[[str | None], Any]) -> Iterator[Any]:
    """The items of every page of a list of MLflow's; `read` reads one by its token."""
    page = read(None)
    yield from page
    while page.token:
        page = read(page.token)
        yield from page


def model_version(
    version: MlflowVersion,
    aliases: Sequence[str] = (),
    run: Run | None = None,
) -> ModelVersion:
    """MLflow's version as ours; what its `run` has stays empty without it."""
    return ModelVersion(
        name=version.name,
        version=int(version.version),
        run_id=version.run_id,
        stage=version.current_stage,
        aliases=tuple(sorted(aliases)),
        metrics=dict(run.metrics) if run else {},
        model_hash=version.tags.get(MODEL_HASH_TAG, ""),
        judged_on=run.judged_on if run else "",
        judged_rows=run.tags.get(JUDGED_ROWS_TAG, "") if run else "",
    )


def in_stage(versions: Iterable[MlflowVersion], stage: str) -> ModelVersion | None:
    """The first of MLflow's versions in the stage, as ours."""
    return next((model_version(one) for one in versions if one.current_stage == stage), None)


def our_runs(runs: Iterable[MlflowRun]) -> list[Run]:
    """The runs in their order, without those that are a part of another one."""
    return [our_run(run) for run in runs if PARENT_TAG not in run.data.tags]


def our_run(run: MlflowRun) -> Run:
    """MLflow's run as ours."""
    return Run(
        run_id=run.info.run_id,
        status=run.info.status,
        started_at=run.info.start_time / 1000,
        params=run.data.params,
        metrics={
            name: value
            for name, value in run.data.metrics.items()
            if not name.startswith(EVALUATED)
        },
        tags=run.data.tags,
    )
