"""Nodes and constants of an ONNX graph, and the model around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

OPSET, IR_VERSION = 20, 10


def node(operator: str, inputs: str, output: str, **attributes: object) -> NodeProto:
    """One operator; the names of its `inputs` are separated by spaces."""
    from onnx import helper

    return helper.make_node(operator, inputs.split(), [output], **attributes)


def constant(name: str, value: npt.ArrayLike) -> TensorProto:
    """A named constant of the graph."""
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(value), name)


def model(graph: GraphProto, ml_opset: int, facts: Mapping[str, str] | None = None) -> bytes:
    """The graph with the opsets that it's written in; the same graph gives the same bytes.

    `facts` are the model's metadata.
    """
    from onnx import helper

    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ml_opset)]
    proto = helper.make_model(
        graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="streamflow"
    )
    for key, value in sorted((facts or {}).items()):
        proto.metadata_props.add(key=key, value=value)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content
