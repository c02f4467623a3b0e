"""The graph of a pipeline on columns: from the encoded matrix to what its model takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .encoding import Matrix

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

COLUMNS_FILE = "columns.onnx"


class ColumnsGraph:
    """A graph that can be called: (rows, encoded columns) to (rows, the model's columns)."""

    def __init__(self, graph: Path | bytes) -> None:
        self._session = onnx_session(graph)

    def __call__(self, matrix: Matrix) -> Matrix:
        """The model's columns, float64."""
        found: Matrix = self._session.run(None, {"features": matrix})[0]
        return found

    @property
    def feature_of(self) -> npt.NDArray[np.int64]:
        """Per column the place of the feature that it comes from, in the schema's order."""
        facts = self._session.get_modelmeta().custom_metadata_map
        return np.array(facts["features"].split(), dtype=np.int64)


def columns_graph(folder: Path) -> ColumnsGraph | None:
    """The graph of the model in `folder`; None of a model that takes the encoded matrix."""
    path = folder / COLUMNS_FILE
    return ColumnsGraph(path) if path.exists() else None


def onnx_session(model: Path | bytes) -> InferenceSession:
    """An ONNX model that is ready to run, with one thread, so that a sum has one order."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
