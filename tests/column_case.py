"""The use case of failing machines with models on columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests import tiny_case
from tests.promoting import LENIENT

from streamflow.use_case import on_columns


def steps(last: Any, random_state: int) -> Any:
    """Imputed and scaled numbers and encoded words, then the classifier."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

    folds = StratifiedKFold(3, shuffle=True, random_state=random_state)
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    columns = ColumnTransformer(
        [
            ("numbers", numbers, ["temperature_c", "alarms", "age_weeks"]),
            ("kinds", TargetEncoder(cv=folds), ["kind"]),
            ("guards", OneHotEncoder(), ["guard_open"]),
        ]
    )
    return make_pipeline(columns, last)


@on_columns
def forest(random_state: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return steps(
        RandomForestClassifier(20, min_samples_leaf=4, random_state=random_state), random_state
    )


@on_columns
def logistic_regression(random_state: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return steps(LogisticRegression(max_iter=5000), random_state)


@on_columns
def lightgbm(random_state: int) -> Any:
    from lightgbm import LGBMClassifier

    return steps(
        LGBMClassifier(
            n_estimators=20,
            random_state=random_state,
            n_jobs=1,
            force_row_wise=True,
            deterministic=True,
            verbose=-1,
        ),
        random_state,
    )


use_case = replace(
    tiny_case.use_case,
    models={"forest": forest, "logistic_regression": logistic_regression, "lightgbm": lightgbm},
    default_model="forest",
    acceptance={},
    gates=LENIENT,
)
