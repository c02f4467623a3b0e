"""What MLflow stores of a training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.features.point_in_time import Assembled
from streamflow.lineage.document import Lineage
from streamflow.registry.records import (
    JUDGED_ON_TAG,
    JUDGED_ROWS_TAG,
    RunRecord,
    TrialRecord,
)
from streamflow.training import judged_rows
from streamflow.training.candidate import Candidate, Recipe
from streamflow.training.judgement import Judgement
from streamflow.training.search.search import Searched
from streamflow.training.served_model import COLUMNS_FILE
from streamflow.use_case import Estimator

if TYPE_CHECKING:
    from pandas import DataFrame

WARNINGS_TAG = "streamflow.warnings"
MOST_TAG_CHARACTERS = 4000


def run_record(
    name: str,
    assembled: Assembled,
    recipe: Recipe,
    trained: Candidate,
    judgement: Judgement,
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
            "months": ", ".join(map(str, training_set.months)),
            "known_at": training_set.known_at.isoformat(),
            "model": name,
            "random_state": fitted.random_state,
            "feature_service": fitted.schema.feature_service,
            "rows": len(training_set.labels),
            "validation": recipe.validation.method,
            "validation_rows": len(trained.judged.validation_rows),
            "refit": recipe.refit,
            **({"calibrate": recipe.calibrate} if recipe.calibrate is not None else {}),
            **({"sample": assembled.sample.size} if assembled.sample is not None else {}),
            "categorical": ", ".join(fitted.schema.categorical),
            "without_label": assembled.without_label,
            "null_labels": assembled.null_labels,
            "premature_labels": assembled.premature_labels,
            "without_features": assembled.without_features,
            **{f"without_row.{one}": count for one, count in assembled.without_row.items()},
            **{f"taken_as_null.{one}": count for one, count in assembled.taken_as_null.items()},
            **{
                f"model.{key}": value
                for key, value in _parameters(fitted.uncalibrated.estimator).items()
            },
            **_search_params(trained.searched),
        },
        metrics={
            **judgement.as_metrics(),
            "train_time_sec": fitted.train_time_sec,
            "served_form_largest_difference": trained.proof.largest_difference,
        },
        tags={
            **tags,
            JUDGED_ON_TAG: judgement.judged_on,
            JUDGED_ROWS_TAG: judged_rows.of_scores(trained.scores, training_set.as_of).hash,
            WARNINGS_TAG: "\n".join(warnings)[:MOST_TAG_CHARACTERS],
        },
        artifacts=artifacts,
        served_form=trained.served,
        schema=fitted.schema,
        input_example=_example(assembled, rows=5),
        requirements=_requirements(lineage.environment.versions, trained.served),
        trials=_trials(trained.searched, fitted.random_state),
    )


def _search_params(searched: Searched | None) -> dict[str, object]:
    if searched is None:
        return {}
    return {
        "search.trials": len(searched.trials),
        "search.folds": searched.folds,
        "search.best_trial": searched.winner.number,
        "search.inner_auc": searched.winner.auc,
    }


def _trials(searched: Searched | None, seed: int) -> list[TrialRecord]:
    return [
        TrialRecord(
            name=f"trial {one.number}",
            params={"model": one.model, "seed": seed}
            | {f"model.{key}": value for key, value in one.parameters.items()},
            metrics={"fold_auc": one.aucs, "auc": [one.auc]} if one.aucs else {},
            tags={"streamflow.trial": str(one.number)}
            | ({"streamflow.failure": one.failure} if one.failure else {}),
            failed=not one.aucs,
        )
        for one in (searched.trials if searched is not None else ())
    ]


def _parameters(estimator: Estimator) -> dict[str, object]:
    plain = (str, int, float, bool, type(None))
    return {key: value for key, value in estimator.get_params().items() if isinstance(value, plain)}


def _example(assembled: Assembled, rows: int) -> DataFrame:
    """Rows to try the model with: of each feature values that occur, in rows that are nobody's."""
    import pandas

    def some(name: str) -> list[object]:
        seen = assembled.table[name].unique().sort()
        return [seen[(len(seen) - 1) * row // (rows + 1)].as_py() for row in range(1, rows + 1)]

    names = [feature.name for feature in assembled.training_set.schema.features]
    return pandas.DataFrame({name: some(name) for name in names})


def _requirements(versions: dict[str, str], served: Path) -> list[str]:
    """The installed packages that a user of MLflow needs to load the served form."""
    needed = ["mlflow", "numpy", "pandas"]
    forms = {"model.onnx": "onnxruntime", "model.lightgbm.txt": "lightgbm"}
    needed += [package for form, package in forms.items() if (served / form).exists()]
    if (served / COLUMNS_FILE).exists() and "onnxruntime" not in needed:
        needed.append("onnxruntime")
    if (served / "model.xgboost.json").exists():
        needed.append("xgboost-cpu")
    return [f"{package}=={versions[package]}" for package in needed]
