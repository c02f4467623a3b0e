"""What a served model takes: the encoded matrix, or the columns that a pipeline makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streamflow.reasons.forms.trees import Unexplainable
from streamflow.training.served_model import (
    FeatureSchema,
    Matrix,
    columns_graph,
    encode,
    encoded_columns,
)
from streamflow.training.served_model.encoding import Columns

Block = slice | npt.NDArray[np.int64]


@dataclass(frozen=True)
class ModelColumns:
    """`blocks` has the model's columns of each feature, in the schema's order.

    Each column comes from one feature alone, so that a feature's columns come together.
    """

    schema: FeatureSchema
    blocks: Sequence[Block]
    made: Callable[[Matrix], Matrix] | None = None

    def matrix(self, columns: Columns) -> Matrix:
        """What the model takes of features; (rows, its columns). Raises Unexplainable for a null
        that reaches the model."""
        encoded = encode(self.schema, columns)
        found = encoded if self.made is None else self.made(encoded)
        if np.isnan(found).any():
            raise Unexplainable("one that decides about nulls itself, behind its pipeline")
        return found


def model_columns(folder: Path, schema: FeatureSchema) -> ModelColumns:
    """The columns that the model in `folder` takes."""
    graph = columns_graph(folder)
    if graph is None:
        return ModelColumns(schema, encoded_columns(schema))
    feature_of = graph.feature_of
    blocks = [np.flatnonzero(feature_of == number) for number in range(len(schema.features))]
    return ModelColumns(schema, blocks, graph)
