"""A served model as MLflow's pyfunc calls it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .model import ServedModel, load

if TYPE_CHECKING:
    from pandas import DataFrame


class _PythonFunction:
    """A served model as MLflow's pyfunc calls it: a DataFrame in, a DataFrame out."""

    def __init__(self, model: ServedModel) -> None:
        self.model = model

    def predict(self, frame: DataFrame, params: dict[str, object] | None = None) -> DataFrame:
        """`prediction` (0 or 1) and `probability` of 1, with the frame's own index."""
        import pandas

        columns = {}
        for feature in self.model.schema.features:
            # pandas has several nulls, some of which can't even be compared; None is ours.
            values = frame[feature.name].astype(object)
            columns[feature.name] = values.where(values.notna(), None).tolist()
        labels, probabilities = self.model.predict(columns)
        return pandas.DataFrame(
            {"prediction": labels, "probability": probabilities}, index=frame.index
        )


def _load_pyfunc(path: str) -> _PythonFunction:
    return _PythonFunction(load(Path(path)))
