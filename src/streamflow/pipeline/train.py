"""A training from the join to a registered version: proved, explained, tracked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from streamflow.errors import KnownAtRefused, UnknownModel
from streamflow.features import point_in_time
from streamflow.lineage import code
from streamflow.lineage import document as lineage
from streamflow.platform import Platform
from streamflow.progress import Progress, silent
from streamflow.registry.records import RunRecord
from streamflow.scratch import scratch
from streamflow.use_case import UseCase


@dataclass(frozen=True)
class Trained:
    """`data_hash` and `model_hash` are SHA-256; times are UTC."""

    run_id: str
    version: int
    model: str
    as_of: date
    known_at: datetime
    rows: int
    without_label: int
    without_features: int
    categorical: list[str]
    metrics: dict[str, float]
    train_time_sec: float
    random_state: int
    data_hash: str
    model_hash: str
    largest_difference: float


def train(
    platform: Platform,
    as_of: date,
    model: str | None,
    random_state: int,
    now: datetime,
    progress: Progress = silent,
    known_at: datetime | None = None,
) -> Trained:
    """Train on everyone with a snapshot at `as_of`, and register the proved model as a version.

    Only what was recorded by `known_at` (UTC; `now` if it's None) takes part. Raises UnknownModel,
    KnownAtRefused, AsOfRefused, LabelsNotMatured, UntrainableData, ServedFormDiffers,
    FeatureStoreUnavailable, MlflowUnavailable.
    """
    from streamflow.training import candidate, dataset_table, fit, plots, served_model

    use_case = platform.use_case
    name = model or use_case.default_model
    build = builder(use_case, name)
    known_at = known_at or now
    if known_at > now:
        raise KnownAtRefused(
            f"--known-at {known_at.isoformat()} is in the future: what will be known then can't "
            f"be told at {now.isoformat()}.",
            "Name a time that has passed, or leave it out.",
        )
    progress("point-in-time join")
    assembled = point_in_time.assemble(platform.database, use_case, as_of, known_at)
    training_set = assembled.training_set
    recipe = candidate.Recipe(training_set, build, random_state, use_case.validation_share)
    with scratch(platform.settings.home / "scratch") as folder:
        artifacts = folder / "artifacts"
        (artifacts / "plots").mkdir(parents=True)
        made = candidate.make(recipe, folder / "served", progress)
        fitted = made.fitted
        evaluation = fit.evaluate(
            fitted.validation_labels, made.predictions, made.probabilities, random_state
        )
        progress("draw")
        plots.draw(
            fitted.validation_labels,
            made.probabilities,
            made.predictions,
            fit.explain(fitted),
            artifacts / "plots",
        )
        progress("fingerprints")
        origin = lineage.describe(
            use_case, platform.settings.use_case, assembled, name, recipe, made
        )
        document = origin.to_json()
        (artifacts / lineage.LINEAGE_FILE).write_text(document, encoding="utf-8")
        (artifacts / served_model.SCHEMA_FILE).write_text(fitted.schema.to_json())
        dataset_table.write(made.scores, artifacts / candidate.SCORES_FILE)
        if platform.settings.keep_training_sets:
            dataset_table.write(assembled.table, artifacts / dataset_table.TRAINING_SET_FILE)
        diff = code.uncommitted()
        if 0 < len(diff) <= code.LARGEST_DIFF:
            (artifacts / code.DIFF_FILE).write_bytes(diff)
        metrics = {
            **evaluation.as_metrics(),
            "train_time_sec": fitted.train_time_sec,
            "served_form_largest_difference": made.proof.largest_difference,
        }
        record = RunRecord(
            params={
                "as_of": as_of,
                "known_at": known_at.isoformat(),
                "model": name,
                "random_state": random_state,
                "feature_service": fitted.schema.feature_service,
                "rows": len(training_set.labels),
                "validation_rows": len(fitted.validation_rows),
                "categorical": ", ".join(fitted.schema.categorical),
                **{f"model.{key}": value for key, value in _parameters(fitted.estimator).items()},
            },
            metrics=metrics,
            tags=lineage.tags(origin, document),
            artifacts=artifacts,
            served_form=made.served,
            schema=fitted.schema,
            input_example=_example(training_set, rows=5),
            requirements=_requirements(origin.environment.versions, made.served),
        )
        progress("register")
        with _run(platform, f"{name} {as_of}") as run_id:
            version = platform.registry.record(run_id, record)
    return Trained(
        run_id=run_id,
        version=version.version,
        model=name,
        as_of=as_of,
        known_at=known_at,
        rows=len(training_set.labels),
        without_label=assembled.without_label,
        without_features=assembled.without_features,
        categorical=fitted.schema.categorical,
        metrics=metrics,
        train_time_sec=fitted.train_time_sec,
        random_state=random_state,
        data_hash=origin.data.hash,
        model_hash=made.model_hash,
        largest_difference=made.proof.largest_difference,
    )


def builder(use_case: UseCase, name: str) -> Callable[[int], Any]:
    """What builds the unfitted estimator of the use case's model `name`. Raises UnknownModel."""
    if name not in use_case.models:
        raise UnknownModel(
            f"The use case {use_case.name!r} has no model {name!r}; it has: "
            f"{', '.join(use_case.models)}.",
            "Name one of them: `streamflow train --model NAME`.",
        )
    return use_case.models[name]


@contextmanager
def _run(platform: Platform, name: str) -> Iterator[str]:
    """A run that is whole or hidden: what a killed training left behind is discarded first.

    The lock is the database's and ends with its holder, so a run that is RUNNING while nobody
    holds the lock has nobody who could finish it.
    """
    database, registry = platform.database, platform.registry
    with database.transaction():
        database.execute("lock_training", model=registry.model)
        for run in registry.runs():
            if run.status == "RUNNING":
                registry.settle(run.run_id)
        run_id = registry.create_run(name)
        try:
            yield run_id
        except BaseException:
            registry.settle(run_id)
            raise


def _parameters(estimator: Any) -> dict[str, Any]:
    plain = (str, int, float, bool, type(None))
    return {key: value for key, value in estimator.get_params().items() if isinstance(value, plain)}


def _example(training_set: Any, rows: int) -> Any:
    import pandas

    return pandas.DataFrame({name: values[:rows] for name, values in training_set.columns.items()})


def _requirements(versions: dict[str, str], served: Path) -> list[str]:
    """What an MLflow user needs to load the served form, as installed here."""
    needed = ["mlflow", "numpy", "pandas"]
    forms = {"model.onnx": "onnxruntime", "model.lightgbm.txt": "lightgbm"}
    needed += [package for form, package in forms.items() if (served / form).exists()]
    if (served / "model.xgboost.json").exists():
        needed.append("xgboost-cpu")
    return [f"{package}=={versions[package]}" for package in needed]
