"""What is wrong with a use case's estimators: methods that they lack, and whether they can be
served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from streamflow.errors import ServedFormDiffers, StreamFlowError, UnservableModel
from streamflow.training import export
from streamflow.training.dataset import TrainingSet
from streamflow.training.fit import fit
from streamflow.training.served_model import Feature, FeatureSchema
from streamflow.use_case import Estimator, EstimatorBuilder, UseCase
from streamflow.use_case.findings import Finding, raised, require_none

METHODS = ("get_params", "fit", "predict", "predict_proba")


def estimator_findings(models: Mapping[str, EstimatorBuilder]) -> list[Finding]:
    """What is wrong with what the builders build, without fitting it."""
    return [finding for name, build in models.items() for finding in _findings(name, build)]


def require_estimator(use_case: UseCase, name: str) -> None:
    """Raises UseCaseRefused if something is wrong with what the model's builder builds."""
    require_none(use_case.name, [*_findings(name, use_case.models[name])])


def served_findings(models: Mapping[str, EstimatorBuilder], folder: Path) -> list[Finding]:
    """Which models can't be served, tried on made-up rows; files go to `folder`.

    A model that can't be fitted to made-up rows is left out: it may be right for real ones.
    """
    training_set = _made_up_rows()
    found = []
    for name, build in models.items():
        try:
            fitted = fit(training_set, build, random_state=0)
        except Exception:  # a team's own code, which may raise anything
            continue
        try:
            export.write(fitted, folder)
            export.prove(fitted, folder)
        except (UnservableModel, ServedFormDiffers) as error:
            found.append(Finding(f"model {name!r}", error.message.rstrip("."), error.next))
        except StreamFlowError:
            continue
    return found


def _findings(name: str, build: EstimatorBuilder) -> Iterator[Finding]:
    where = f"model {name!r}"
    try:
        estimator, another = build(0), build(0)
    except Exception as error:
        yield raised(where, error, f"def {name}(random_state): return …Classifier(…)")
        return
    kind = type(estimator).__name__
    missing = [method for method in METHODS if not _has(estimator, method)]
    if missing == ["predict_proba"]:
        yield Finding(
            where,
            f"{kind} has no predict_proba, and a prediction is a probability",
            f"CalibratedClassifierCV({kind}(…)) of sklearn.calibration, or another classifier",
        )
    elif missing:
        yield Finding(
            where,
            f"{kind} has no {', no '.join(missing)}",
            f"def {name}(random_state): return …Classifier(…), not fitted",
        )
    elif estimator is another:
        yield Finding(
            where,
            f"it returns the same {kind} each time, so that one training changes the next",
            f"def {name}(random_state): return {kind}(…)",
        )


def _has(estimator: Estimator, method: str) -> bool:
    try:
        return callable(getattr(estimator, method, None))
    except Exception:  # scikit-learn decides some attributes by code
        return False


def _made_up_rows(rows: int = 400) -> TrainingSet:
    """A feature of each type, of which the label depends on some and on chance."""
    random = np.random.default_rng(0)
    number, count = random.normal(size=rows), random.integers(0, 20, rows)
    flag, word = random.choice([True, False], rows), random.choice(["a", "b", "c"], rows)
    risk = number + count / 10 + (word == "b") + flag + random.normal(size=rows)
    schema = FeatureSchema(
        feature_service="made_up",
        entity="entity",
        join_key="entity_id",
        features=(
            Feature("number", "made_up", "FLOAT64", nullable=True),
            Feature("count", "made_up", "INT64", nullable=False),
            Feature("flag", "made_up", "BOOL", nullable=True),
            Feature("word", "made_up", "STRING", nullable=False),
        ),
    )
    return TrainingSet(
        schema=schema,
        entities=[f"{row:06}" for row in range(rows)],
        as_ofs=[date(2024, 1, 31)] * rows,
        columns={
            "number": [None if row % 9 == 0 else float(number[row]) for row in range(rows)],
            "count": count.tolist(),
            "flag": [None if row % 7 == 0 else bool(flag[row]) for row in range(rows)],
            "word": word.tolist(),
        },
        labels=(risk > np.median(risk)).tolist(),
        known_at=datetime(2024, 2, 1, tzinfo=UTC),
    )
