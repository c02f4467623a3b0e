"""What is wrong with a use case's estimators: methods that they lack, and whether they can be
served."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from streamflow.errors import ServedFormDiffers, StreamFlowError, UnservableModel
from streamflow.training import export
from streamflow.training.columns.names import named_columns
from streamflow.training.dataset import FeatureValue, TrainingSet
from streamflow.training.fit import fit
from streamflow.training.served_model import Feature, FeatureSchema
from streamflow.use_case import Estimator, EstimatorBuilder, OnColumns, UseCase, inner
from streamflow.use_case.findings import Finding, raised, require_none
from streamflow.use_case.module import nearest

METHODS = ("get_params", "fit", "predict", "predict_proba")


def estimator_findings(models: Mapping[str, EstimatorBuilder]) -> list[Finding]:
    """What is wrong with what the builders build, without fitting it."""
    return [finding for name, build in models.items() for finding in _findings(name, build)]


def require_estimator(use_case: UseCase, name: str) -> None:
    """Raises UseCaseRefused if something is wrong with what the model's builder builds."""
    require_none(use_case.name, [*_findings(name, use_case.models[name])])


def served_findings(
    models: Mapping[str, EstimatorBuilder], folder: Path, schema: FeatureSchema | None = None
) -> list[Finding]:
    """Which models can't be served, tried on made-up rows; files go to `folder`.

    Those on columns are tried on rows of the `schema`, and left out without one. A model that can't
    be fitted to made-up rows is left out: it may be right for real ones.
    """
    plain = made_up_rows(SOME_FEATURES)
    found = []
    for name, build in models.items():
        training_set = plain
        if isinstance(build(0), OnColumns):
            if schema is None:
                continue
            training_set = made_up_rows(schema)
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


def column_findings(models: Mapping[str, EstimatorBuilder], schema: FeatureSchema) -> list[Finding]:
    """Which models name columns that the feature service doesn't have."""
    columns = [feature.name for feature in schema.features]
    return [
        Finding(
            f"model {name!r}",
            f"its {place} names the column {column!r}, which {schema.feature_service!r} doesn't "
            "have",
            repr(nearest(column, columns)),
        )
        for name, build in models.items()
        for place, column in named_columns(build(0))
        if column not in columns
    ]


def _findings(name: str, build: EstimatorBuilder) -> Iterator[Finding]:
    where = f"model {name!r}"
    try:
        built, another = build(0), inner(build(0))
    except Exception as error:
        yield raised(where, error, f"def {name}(random_state): return …Classifier(…)")
        return
    estimator = inner(built)
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
    elif not isinstance(built, OnColumns) and (named := named_columns(estimator)):
        place, column = named[0]
        yield Finding(
            where,
            f"its {place} names the column {column!r}, and a model takes a matrix unless it asks "
            "for columns",
            f"@on_columns (of streamflow.use_case) in the line above def {name}",
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


_MADE_UP: Mapping[str, Callable[[np.random.Generator, int], Any]] = {
    "STRING": lambda random, rows: random.choice(["a", "b", "c"], rows),
    "BOOL": lambda random, rows: random.choice([True, False], rows),
    "INT64": lambda random, rows: random.integers(0, 20, rows),
    "FLOAT64": lambda random, rows: random.normal(size=rows),
}
SOME_FEATURES = FeatureSchema(
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


def made_up_rows(schema: FeatureSchema, rows: int = 400) -> TrainingSet:
    """Values of each feature's type, of which the label depends on some and on chance."""
    random = np.random.default_rng(0)
    risk = random.normal(size=rows)
    columns: dict[str, list[FeatureValue]] = {}
    for number, feature in enumerate(schema.features):
        made = _MADE_UP[feature.type](random, rows)
        risk += made == "b" if feature.type == "STRING" else made / max(1, np.max(made) / 3)
        values: list[FeatureValue] = made.tolist()
        if feature.may_be_null:
            values[number % 3 :: 9] = [None] * len(values[number % 3 :: 9])
        columns[feature.name] = values
    return TrainingSet(
        schema=schema,
        entities=[f"{row:06}" for row in range(rows)],
        as_ofs=[date(2024, 1, 31)] * rows,
        columns=columns,
        labels=(risk > np.median(risk)).tolist(),
        known_at=datetime(2024, 2, 1, tzinfo=UTC),
    )
