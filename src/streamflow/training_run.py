"""A training from the join to a registered version: proved, explained, tracked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from streamflow import lineage, point_in_time
from streamflow.bootstrap import Platform
from streamflow.errors import UnknownModel
from streamflow.pipeline import Progress, silent
from streamflow.runs import MODEL_HASH_TAG, RunRecord
from streamflow.scratch import scratch


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
) -> Trained:
    """Train on everyone with a snapshot at `as_of`, and register the proved model as a version.

    Raises UnknownModel, AsOfRefused, LabelsNotMatured, ServedFormDiffers, FeatureStoreUnavailable,
    MlflowUnavailable.
    """
    from streamflow import plots, served_form, served_model, training

    use_case = platform.use_case
    name = model or use_case.default_model
    if name not in use_case.models:
        raise UnknownModel(
            f"The use case {use_case.name!r} has no model {name!r}; it has: "
            f"{', '.join(use_case.models)}.",
            "Name one of them: `streamflow train --model NAME`.",
        )
    progress("point-in-time join")
    assembled = point_in_time.assemble(platform.database, use_case, as_of, now)
    training_set = assembled.training_set
    progress("fit")
    fitted = training.fit(training_set, use_case.models[name], random_state)
    predictions, probabilities = fitted.predict()
    evaluation = training.evaluate(
        fitted.validation_labels, predictions, probabilities, random_state
    )
    with scratch(platform.settings.home / "scratch") as folder:
        served, artifacts = folder / "served", folder / "artifacts"
        (artifacts / "plots").mkdir(parents=True)
        progress("prove the served form")
        served_form.write(fitted, served)
        proof = served_form.prove(fitted, served)
        (artifacts / served_model.SCHEMA_FILE).write_text(fitted.schema.to_json())
        environment = lineage.environment()
        (artifacts / "environment.json").write_text(json.dumps(environment.versions, indent=2))
        progress("draw")
        importances = training.explain(fitted)
        plots.draw(
            fitted.validation_labels, probabilities, predictions, importances, artifacts / "plots"
        )
        code = lineage.code()
        data_hash = lineage.data_hash(training_set)
        model_hash = served_model.digest(served)
        metrics = {
            **evaluation.as_metrics(),
            "train_time_sec": fitted.train_time_sec,
            "served_form_largest_difference": proof.largest_difference,
        }
        record = RunRecord(
            params={
                "as_of": as_of,
                "known_at": now.isoformat(),
                "model": name,
                "random_state": random_state,
                "feature_service": fitted.schema.feature_service,
                "rows": len(training_set.labels),
                "validation_rows": len(fitted.validation_rows),
                "categorical": ", ".join(fitted.schema.categorical),
                **{f"model.{key}": value for key, value in _parameters(fitted.estimator).items()},
            },
            metrics=metrics,
            tags={
                "streamflow.data_hash": data_hash,
                MODEL_HASH_TAG: model_hash,
                "streamflow.lock_hash": environment.lock_hash,
                "streamflow.python": environment.python,
                "streamflow.platform": environment.platform,
                "streamflow.code_dirty": str(code.dirty).lower(),
                **({"mlflow.source.git.commit": code.commit} if code.commit else {}),
            },
            artifacts=artifacts,
            served_form=served,
            schema=fitted.schema,
            input_example=_example(training_set, rows=5),
            requirements=_requirements(environment.versions, served),
        )
        progress("register")
        with _run(platform, f"{name} {as_of}") as run_id:
            version = platform.registry.record(run_id, record)
    return Trained(
        run_id=run_id,
        version=version.version,
        model=name,
        as_of=as_of,
        known_at=now,
        rows=len(training_set.labels),
        without_label=assembled.without_label,
        without_features=assembled.without_features,
        categorical=fitted.schema.categorical,
        metrics=metrics,
        train_time_sec=fitted.train_time_sec,
        random_state=random_state,
        data_hash=data_hash,
        model_hash=model_hash,
        largest_difference=proof.largest_difference,
    )


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
