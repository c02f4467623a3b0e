"""The weights of a linear model out of its ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamflow.reasons.forms.trees import LinearSum, Unexplainable
from streamflow.training.served_model import Matrix

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


@dataclass(frozen=True)
class _Affine:
    """A value of the graph as `features @ weights + offset`."""

    weights: Matrix
    offset: Matrix


_Value = _Affine | npt.NDArray[Any]


def onnx_linear_sum(graph: GraphProto) -> LinearSum:
    """The sum that the graph's only sigmoid (or softmax of two classes) is taken of.

    The graph's operators are followed from the features on, in float64, as long as they are affine.
    Raises Unexplainable if they don't lead to one such sum.
    """
    from onnx import numpy_helper

    source = graph.input[0]
    columns = source.type.tensor_type.shape.dim[1].dim_value
    known: dict[str, _Value] = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    known[source.name] = _Affine(np.eye(columns), np.zeros(columns))
    sums = []
    for node in graph.node:
        arguments = [known.get(name) for name in node.input]
        if node.op_type in ("Sigmoid", "Softmax", "LinearClassifier"):
            sums.append(_sum(node, arguments[0]))
        elif all(one is not None for one in arguments):
            value = _result(node, [one for one in arguments if one is not None])
            if value is not None:
                known[node.output[0]] = value
    if len(sums) != 1:
        operators = ", ".join(sorted({node.op_type for node in graph.node}))
        raise Unexplainable(f"an ONNX graph that isn't one weighted sum: {operators}")
    return sums[0]


def _result(node: NodeProto, arguments: list[_Value]) -> _Value | None:
    """What the operator makes of affine values and constants, None if it's not affine."""
    first, *rest = arguments
    if rest and node.op_type in ("Add", "Mul") and not isinstance(first, _Affine):
        first, *rest = *rest, first
    if not isinstance(first, _Affine) or any(isinstance(one, _Affine) for one in rest):
        return None
    weights, offset = first.weights, first.offset
    if node.op_type in ("Identity", "Cast"):
        return first
    if node.op_type == "Scaler":
        facts = _attributes(node)
        scale = np.asarray(facts["scale"], dtype=np.float64)
        return _Affine(weights * scale, (offset - np.asarray(facts["offset"])) * scale)
    if len(rest) != 1:
        return None
    constant = np.asarray(rest[0], dtype=np.float64)
    if node.op_type == "MatMul":
        return _Affine(weights @ constant, offset @ constant)
    constant = constant.reshape(-1)
    if node.op_type == "Add":
        return _Affine(weights, offset + constant)
    if node.op_type == "Sub":
        return _Affine(weights, offset - constant)
    if node.op_type == "Mul":
        return _Affine(weights * constant, offset * constant)
    if node.op_type == "Div":
        return _Affine(weights / constant, offset / constant)
    return None


def _sum(node: NodeProto, value: _Value | None) -> LinearSum:
    if not isinstance(value, _Affine):
        raise Unexplainable(f"ONNX whose {node.op_type} isn't of a weighted sum")
    facts = _attributes(node)
    if node.op_type == "LinearClassifier":
        if facts.get("post_transform") != b"LOGISTIC":
            raise Unexplainable("an ONNX LinearClassifier that isn't logistic")
        by_class = np.asarray(facts["coefficients"], dtype=np.float64).reshape(
            -1, value.weights.shape[0]
        )
        value = _Affine(
            value.weights @ by_class.T,
            value.offset @ by_class.T + np.asarray(facts["intercepts"], dtype=np.float64),
        )
    weights, offset = value.weights, np.broadcast_to(value.offset, value.weights.shape[1])
    if weights.shape[1] > 2:
        raise Unexplainable(f"ONNX with a {node.op_type} of {weights.shape[1]} sums")
    if node.op_type == "Softmax":
        return LinearSum(float(offset[-1] - offset[0]), weights[:, -1] - weights[:, 0])
    return LinearSum(float(offset[-1]), weights[:, -1])


def _attributes(node: NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {one.name: helper.get_attribute_value(one) for one in node.attribute}
