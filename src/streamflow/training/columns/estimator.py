"""An estimator on columns as everything else takes it: fitted to the encoded matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamflow.errors import UntrainableData
from streamflow.training.columns.data_frame import data_frame
from streamflow.training.columns.names import require_columns
from streamflow.training.served_model import FeatureSchema, Matrix
from streamflow.use_case import Estimator, OnColumns
from streamflow.use_case.findings import one_line


class ColumnsEstimator:
    """Turns the encoded matrix into a DataFrame by the schema, and gives it to `inner`."""

    def __init__(self, inner: Any, schema: FeatureSchema) -> None:
        self.inner = inner
        self.schema = schema

    def get_params(self) -> dict[str, object]:
        """Those of `inner`."""
        found: dict[str, object] = self.inner.get_params()
        return found

    def set_params(self, **parameters: object) -> ColumnsEstimator:
        """Change those of `inner`; returns itself."""
        self.inner.set_params(**parameters)
        return self

    def fit(self, features: Matrix, labels: npt.NDArray[np.integer]) -> ColumnsEstimator:
        """Fit `inner`. Raises UntrainableData if it can't take the columns."""
        require_columns(self.inner, self.schema)
        frame = data_frame(self.schema, features)
        try:
            self.inner.fit(frame, labels)
        except Exception as error:  # a team's pipeline, which may raise anything
            raise self._refused("fitted", error) from error
        return self

    def predict(self, features: Matrix) -> npt.NDArray[np.integer]:
        """The labels of `inner`, one per row."""
        return np.asarray(self._of("predict", features))

    def predict_proba(self, features: Matrix) -> npt.NDArray[np.float64]:
        """The probabilities of `inner`: (rows, 2)."""
        return np.asarray(self._of("predict_proba", features), dtype=np.float64)

    def _of(self, method: str, features: Matrix) -> Any:
        try:
            return getattr(self.inner, method)(data_frame(self.schema, features))
        except Exception as error:
            raise self._refused("asked for predictions", error) from error

    def _refused(self, done: str, error: Exception) -> UntrainableData:
        types = ", ".join(f"{one.name} {_KINDS[one.type]}" for one in self.schema.features)
        return UntrainableData(
            f"{type(self.inner).__name__} can't be {done} on the columns ({types}): "
            f"{one_line(error)}.",
            "Correct the model in the use case; `streamflow check` tries it without data.",
        )


_KINDS = {"STRING": "text", "BOOL": "boolean", "INT64": "number", "FLOAT64": "number"}


def with_columns(estimator: Estimator, schema: FeatureSchema) -> Estimator:
    """The estimator, fit to take the encoded matrix by the schema: itself, if it takes one."""
    if isinstance(estimator, OnColumns):
        return ColumnsEstimator(estimator.estimator, schema)
    return estimator
