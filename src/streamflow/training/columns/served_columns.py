"""A fitted pipeline on columns in two parts: one graph that works column by column, and the rest.

The graph is proved equal to the pipeline's own steps, bit for bit, on the rows that judge the model
and on each text and boolean that the features may have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamflow.training.columns.data_frame import data_frame
from streamflow.training.columns.estimator import ColumnsEstimator
from streamflow.training.columns.graph import Columns
from streamflow.training.columns.outputs import Output, Probe, Unproved, names_of
from streamflow.training.columns.steps import dense, trace
from streamflow.training.served_model import ColumnsGraph, FeatureSchema, Matrix
from streamflow.use_case.findings import one_line

# Estimators that may be around a pipeline, or be its last step.
_AROUND = ("CalibratedClassifierCV", "GridSearchCV", "RandomizedSearchCV", "BaggingClassifier")

Followed = tuple[list[Output], Any]


@dataclass(frozen=True)
class ServedColumns:
    """`graph` is an ONNX model from the encoded matrix to the `width` columns that `rest` takes.

    `stopped_by` says why the step after the graph isn't in it; empty if only a classifier is left.
    """

    graph: bytes
    rest: Any
    width: int
    stopped_by: str = ""


def served_columns(estimator: ColumnsEstimator, matrix: Matrix) -> ServedColumns:
    """The two parts of a fitted pipeline; `matrix` is that of the rows that judge it, encoded.

    Raises Unproved if columns can't be followed as far as they are numbers.
    """
    inner, schema = estimator.inner, estimator.schema
    steps = [one for _, one in getattr(inner, "steps", [("", inner)])]
    probe = Probe.of(schema, matrix[0])
    rows = np.concatenate([probe.matrix, matrix])
    reached, stopped_by = _traced(steps[:-1], probe)
    while True:
        done, (outputs, sample) = len(reached) - 1, reached[-1]
        rest = inner[done:] if len(steps) - done > 1 else steps[-1]
        try:
            tables = _tables(probe, outputs, sample, rest, stopped_by)
            graph = Columns(schema, outputs, tables).graph()
            wanted = _numbers(_transformed(steps[:done], data_frame(schema, rows)))
            _require_equal(schema, outputs, ColumnsGraph(graph)(rows), wanted)
            return ServedColumns(graph, rest, len(outputs), stopped_by)
        except Unproved as error:
            # What comes before the last step may be equal.
            stopped_by = stopped_by or str(error)
            reached = reached[:-1]
            if not reached:
                raise Unproved(stopped_by) from error


def _traced(steps: Sequence[Any], probe: Probe) -> tuple[list[Followed], str]:
    """The columns before each step and after the last that can be followed; why no further."""
    found: list[Followed] = [probe.start()]
    for step in steps:
        try:
            found.append(trace(step, *found[-1], probe))
        except Unproved as error:
            return found, str(error)
        except Exception as error:  # a team's own step, which may raise anything
            return found, f"{type(step).__name__}, which raises {one_line(error)}"
    return found, ""


def _transformed(steps: Sequence[Any], rows: Any) -> Any:
    for step in steps:
        rows = rows if step in (None, "passthrough") else step.transform(rows)
    return rows


def _tables(
    probe: Probe, outputs: Sequence[Output], sample: Any, rest: Any, stopped_by: str
) -> dict[int, list[float]]:
    try:
        numbers = _numbers(sample)
    except (TypeError, ValueError) as error:
        texts = names_of([one for one in outputs if one.operations is None], probe.schema)
        if type(rest).__name__ in _AROUND and not stopped_by:
            raise Unproved(
                f"{type(rest).__name__} around the whole pipeline: make it the pipeline's last "
                "step, around the classifier"
            ) from error
        raise Unproved(
            stopped_by or f"{type(rest).__name__}, which takes texts itself ({texts})"
        ) from error
    if numbers.shape[1] != len(outputs):
        raise Unproved(f"steps that make {numbers.shape[1]} columns where {len(outputs)} are known")
    return {
        place: probe.table(one.feature, numbers[:, place])
        for place, one in enumerate(outputs)
        if one.operations is None
    }


def _numbers(sample: Any) -> Matrix:
    numbers: Matrix = dense(sample).astype(np.float64)
    return numbers


def _require_equal(
    schema: FeatureSchema, outputs: Sequence[Output], found: Matrix, wanted: Matrix
) -> None:
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    if not same.all():
        wrong = [outputs[place] for place in np.flatnonzero(~same.all(axis=0)).tolist()]
        raise Unproved(f"steps whose columns differ from their graph's ({names_of(wrong, schema)})")
