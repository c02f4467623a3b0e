"""Estimators that take a DataFrame with the features' own types, where a model asks for one."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


class OnColumns:
    """An unfitted scikit-learn estimator that takes a DataFrame instead of a matrix.

    `train` gives it the features by name. Parameters are those of `estimator`.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def get_params(self) -> dict[str, object]:
        """The estimator's parameters by name, including those of nested estimators."""
        found: dict[str, object] = self.estimator.get_params()
        return found

    def set_params(self, **parameters: object) -> OnColumns:
        """Change parameters; returns itself."""
        self.estimator.set_params(**parameters)
        return self

    def fit(self, features: Any, labels: Any) -> object:
        """Raises TypeError: a matrix has no names and types."""
        raise TypeError("an estimator on columns is fitted by `streamflow train`")

    def predict(self, features: Any) -> Any:
        """Raises TypeError, as `fit`."""
        raise TypeError("an estimator on columns predicts for what `streamflow train` has fitted")

    predict_proba = predict


def on_columns(build: Callable[[int], Any]) -> Callable[[int], OnColumns]:
    """Decorates a model's builder: its estimator takes a pandas DataFrame, a column per feature.

    Columns have the features' names, in the feature service's order: text as `object`, Int64 and
    Float64 as `float64`, a Bool as `bool`, or as `object` where it may be null. A null is NaN.
    """

    @wraps(build)
    def built(random_state: int) -> OnColumns:
        return OnColumns(build(random_state))

    return built


def inner(estimator: object) -> Any:
    """What a team has built: of an estimator on columns, what it is around."""
    return estimator.estimator if isinstance(estimator, OnColumns) else estimator
