"""What MLflow stores of a training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.features.point_in_time import Assembled
from streamflow.lineage.document import Lineage
from streamflow.registry.records import RunRecord
from streamflow.training.candidate import Candidate
from streamflow.training.evaluation import Evaluation
from streamflow.use_case import Estimator

if TYPE_CHECKING:
    from pandas import DataFrame

    from streamflow.training.dataset import TrainingSet

WARNINGS_TAG = "streamflow.warnings"
MOST_TAG_CHARACTERS = 4000


def run_record(
    name: str,
    assembled: Assembled,
    trained: Candidate,
    evaluated: Evaluation,
    lineage: Lineage,
    tags: dict[str, str],
    warnings: list[str],
    artifacts: Path,
) -> RunRecord:
    """Everything that MLflow stores of the training."""
    training_set, fitted = assembled.training_set, trained.fitted
    return RunRecord(
        params={
            "as_of": training_set.as_of,
            "known_at": training_set.known_at.isoformat(),
            "model": name,
            "random_state": fitted.random_state,
            "feature_service": fitted.schema.feature_service,
            "rows": len(training_set.labels),
            "validation_rows": len(fitted.validation_rows),
            "categorical": ", ".join(fitted.schema.categorical),
            "without_label": assembled.without_label,
            "null_labels": assembled.null_labels,
            "without_features": assembled.without_features,
            **{f"without_row.{one}": count for one, count in assembled.without_row.items()},
            **{f"taken_as_null.{one}": count for one, count in assembled.taken_as_null.items()},
            **{f"model.{key}": value for key, value in _parameters(fitted.estimator).items()},
        },
        metrics={
            **evaluated.as_metrics(),
            "train_time_sec": fitted.train_time_sec,
            "served_form_largest_difference": trained.proof.largest_difference,
        },
        tags={**tags, WARNINGS_TAG: "\n".join(warnings)[:MOST_TAG_CHARACTERS]},
        artifacts=artifacts,
        served_form=trained.served,
        schema=fitted.schema,
        input_example=_example(training_set, rows=5),
        requirements=_requirements(lineage.environment.versions, trained.served),
    )


def _parameters(estimator: Estimator) -> dict[str, object]:
    plain = (str, int, float, bool, type(None))
    return {key: value for key, value in estimator.get_params().items() if isinstance(value, plain)}


def _example(training_set: TrainingSet, rows: int) -> DataFrame:
    import pandas

    return pandas.DataFrame({name: values[:rows] for name, values in training_set.columns.items()})


def _requirements(versions: dict[str, str], served: Path) -> list[str]:
    """The installed packages that a user of MLflow needs to load the served form."""
    needed = ["mlflow", "numpy", "pandas"]
    forms = {"model.onnx": "onnxruntime", "model.lightgbm.txt": "lightgbm"}
    needed += [package for form, package in forms.items() if (served / form).exists()]
    if (served / "model.xgboost.json").exists():
        needed.append("xgboost-cpu")
    return [f"{package}=={versions[package]}" for package in needed]
