"""The ONNX graph from the encoded matrix to the columns that the rest of a pipeline takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamflow.training.columns.outputs import Output
from streamflow.training.onnx.graph import constant, model, node
from streamflow.training.served_model import FeatureSchema, Matrix, encoded_columns

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

_ML_OPSET = 3
_OPERATORS = {"subtract": "Sub", "divide": "Div", "multiply": "Mul", "add": "Add"}


@dataclass(frozen=True)
class Columns:
    """`outputs` in their order; `tables` has, of those without operations, a value per code."""

    schema: FeatureSchema
    outputs: Sequence[Output]
    tables: dict[int, list[float]]

    def graph(self) -> bytes:
        """A model from `features`, the encoded matrix, to `columns`, both float64.

        Each operation is one of NumPy's on float64, so that the columns are those of the pipeline
        to the last bit. Its metadata say from which feature each column comes.
        """
        from onnx import TensorProto, helper

        written = _Graph()
        order: list[int] = []
        parts: list[str] = []
        groups: dict[tuple[str, ...] | None, list[int]] = {}
        for place, one in enumerate(self.outputs):
            names = None if one.operations is None else tuple(name for name, _ in one.operations)
            groups.setdefault(names, []).append(place)
        blocks = encoded_columns(self.schema)
        width = blocks[-1].stop if blocks else 0
        for names, places in groups.items():
            if names is None:
                parts.append(self._looked_up(written, blocks, places))
            else:
                parts.append(self._computed(written, blocks, names, places))
            order += places
        together = written.add("Concat", " ".join(parts), axis=1) if len(parts) > 1 else parts[0]
        back = written.constant(np.argsort(order))
        written.nodes.append(node("Gather", f"{together} {back}", "columns", axis=1))
        double = TensorProto.DOUBLE
        return model(
            helper.make_graph(
                written.nodes,
                "columns",
                [helper.make_tensor_value_info("features", double, [None, width])],
                [helper.make_tensor_value_info("columns", double, [None, len(order)])],
                written.constants,
            ),
            ml_opset=_ML_OPSET,
            facts={"features": " ".join(str(one.feature) for one in self.outputs)},
        )

    def _looked_up(self, written: _Graph, blocks: list[slice], places: list[int]) -> str:
        """Texts and booleans: the code of each, then the column's value for it in one flat table.

        The encoded columns of one feature have a single 1 at most, so that a code is their sum,
        each times its number: 0 for none of them.
        """
        features = sorted({self.outputs[place].feature for place in places})
        taken, weights = [], []
        for at, number in enumerate(features):
            for own in range(blocks[number].start, blocks[number].stop):
                taken.append(own)
                row = np.zeros(len(features))
                row[at] = own - blocks[number].start + 1
                weights.append(row)
        ones = written.add("Gather", f"features {written.constant(taken)}", axis=1)
        summed = written.add("MatMul", f"{ones} {written.constant(np.array(weights))}")
        found = written.add("Cast", summed, to=7)  # int64
        flat: list[float] = []
        starts = []
        for place in places:
            starts.append(len(flat))
            flat += self._by_sum(place)
        of_column = [features.index(self.outputs[place].feature) for place in places]
        own_codes = written.add("Gather", f"{found} {written.constant(of_column)}", axis=1)
        entries = written.add("Add", f"{own_codes} {written.constant(starts)}")
        return written.add("Gather", f"{written.constant(np.array(flat))} {entries}", axis=0)

    def _by_sum(self, place: int) -> list[float]:
        """The column's table by the sum of the encoded columns' numbers."""
        feature = self.schema.features[self.outputs[place].feature]
        table = self.tables[place]
        if feature.type == "BOOL":
            return [*table, *([np.nan] * (3 - len(table)))]
        known = len(feature.categories) + feature.may_be_null
        padded = [*table, *([np.nan] * (known + 1 - len(table)))]
        return [padded[known], *padded[:known]]

    def _computed(
        self, written: _Graph, blocks: list[slice], names: tuple[str, ...], places: list[int]
    ) -> str:
        """Numbers, NaN where the feature is null, and one operation after the other."""
        numbers = [self.outputs[place].feature for place in places]
        value = written.add(
            "Gather",
            f"features {written.constant([blocks[one].start for one in numbers])}",
            axis=1,
        )
        nullable = [self.schema.features[one].may_be_null for one in numbers]
        if any(nullable):
            # Of a feature that is never null the number itself stands in, which is masked.
            flags = [
                blocks[one].start + (1 if null else 0)
                for one, null in zip(numbers, nullable, strict=True)
            ]
            flag = written.add("Gather", f"features {written.constant(flags)}", axis=1)
            is_null = written.add("Equal", f"{flag} {written.constant(np.float64(1))}")
            is_null = written.add("And", f"{is_null} {written.constant(np.array(nullable))}")
            value = written.add("Where", f"{is_null} {written.constant(np.float64('nan'))} {value}")
        for step, name in enumerate(names):
            settings = np.array(
                [(self.outputs[place].operations or ())[step][1] for place in places]
            )
            value = _operated(written, name, value, settings)
        return value


def _operated(written: _Graph, name: str, value: str, settings: Matrix) -> str:
    from onnx import TensorProto

    if name == "float32":
        narrow = written.add("Cast", value, to=TensorProto.FLOAT)
        return written.add("Cast", narrow, to=TensorProto.DOUBLE)
    if name in ("fill", "is null"):
        is_null = written.add("IsNaN", value)
        if name == "is null":
            return written.add("Cast", is_null, to=TensorProto.DOUBLE)
        return written.add("Where", f"{is_null} {written.constant(settings)} {value}")
    if name in ("at least", "at most"):
        # Where, and not Max or Min: NaN stays NaN, as with NumPy.
        compared = written.add(
            "Less" if name == "at least" else "Greater", f"{value} {written.constant(settings)}"
        )
        return written.add("Where", f"{compared} {written.constant(settings)} {value}")
    return written.add(_OPERATORS[name], f"{value} {written.constant(settings)}")


class _Graph:
    """Nodes and constants by numbered names, so that the same columns give the same bytes."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, inputs: str, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(node(operator, inputs, name, **attributes))
        return name

    def constant(self, value: object) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(constant(name, np.asarray(value)))
        return name
