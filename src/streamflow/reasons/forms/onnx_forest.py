"""The trees of a forest that `training.onnx` has written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamflow.reasons.forms.trees import LEAF, Tree, TreeSum, Unexplainable

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

Column = npt.NDArray[Any]

_LESS_OR_EQUAL = 0  # of the operator TreeEnsemble


def onnx_forest_sum(graph: GraphProto) -> TreeSum:
    """The mean of the forest's trees over float32 features, as a sum of probabilities.

    Of the graph only the sums of the shares of class 1 are read; that the rest of it is the
    division by the number of trees is seen when the sum is compared with what is served. Raises
    Unexplainable if the graph isn't such a forest.
    """
    from onnx import numpy_helper

    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    if "trees" not in constants:
        raise Unexplainable("an ONNX graph of trees that StreamFlow hasn't written")
    count = float(constants["trees"])
    columns = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    trees = [
        tree
        for node in graph.node
        if node.op_type in _READ
        for tree in _READ[node.op_type](_attributes(node), columns, count)
    ]
    if len(trees) != count:
        raise Unexplainable(f"an ONNX graph with {len(trees)} trees of {count:g}")
    return TreeSum("probability", np.float32, 0.0, trees)


def _attributes(node: NodeProto) -> dict[str, Any]:
    from onnx import TensorProto, helper, numpy_helper

    found = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    return {
        name: numpy_helper.to_array(value)
        if isinstance(value, TensorProto)
        else np.asarray(value)
        if isinstance(value, list)
        else value
        for name, value in found.items()
    }


def _ensemble(node: dict[str, Any], columns: int, count: float) -> Iterator[Tree]:
    """The trees of a TreeEnsemble, whose splits and leaves are numbered apart."""
    if (node["nodes_modes"] != _LESS_OR_EQUAL).any():
        raise Unexplainable("ONNX trees with other splits than <=")
    feature, threshold = node["nodes_featureids"], node["nodes_splits"]
    true, false = node["nodes_truenodeids"], node["nodes_falsenodeids"]
    true_is_leaf = node["nodes_trueleafs"].astype(bool)
    false_is_leaf = node["nodes_falseleafs"].astype(bool)
    shares = node["leaf_weights"].astype(np.float64) / count
    roots = node["tree_roots"]
    leaf_start = 0
    for start, end in zip(roots, [*roots[1:], len(feature)], strict=True):
        part, splits = slice(start, end), end - start
        leaves = np.concatenate([true[part][true_is_leaf[part]], false[part][false_is_leaf[part]]])
        leaf_end = int(leaves.max()) + 1
        # A node per split, and after them one per leaf.
        left = np.where(true_is_leaf[part], true[part] - leaf_start + splits, true[part] - start)
        right = np.where(
            false_is_leaf[part], false[part] - leaf_start + splits, false[part] - start
        )
        value = shares[leaf_start:leaf_end]
        yield _tree(
            np.concatenate([feature[part], np.full(len(value), LEAF)]),
            np.concatenate([threshold[part], np.zeros(len(value))]),
            np.concatenate([left, np.zeros(len(value), np.int64)]),
            np.concatenate([right, np.zeros(len(value), np.int64)]),
            np.concatenate([np.zeros(splits), value]),
            columns,
        )
        leaf_start = leaf_end


def _regressor(node: dict[str, Any], columns: int, count: float) -> Iterator[Tree]:
    """The trees of a TreeEnsembleRegressor, whose nodes have numbers of their own by tree."""
    of_tree = node["nodes_treeids"]
    is_leaf = np.array([mode == b"LEAF" for mode in node["nodes_modes"]])
    if any(mode not in (b"LEAF", b"BRANCH_LEQ") for mode in node["nodes_modes"]):
        raise Unexplainable("ONNX trees with other splits than <=")
    for number in np.unique(of_tree):
        nodes = of_tree == number
        ids = node["nodes_nodeids"][nodes]
        place = np.full(int(ids.max()) + 1, -1)
        place[ids] = np.arange(len(ids))
        leaf = is_leaf[nodes]
        value = np.zeros(len(ids))
        targets = node["target_treeids"] == number
        value[place[node["target_nodeids"][targets]]] = (
            node["target_weights"][targets].astype(np.float64) / count
        )
        yield _tree(
            np.where(leaf, LEAF, node["nodes_featureids"][nodes]),
            node["nodes_values"][nodes].astype(np.float64),
            np.where(leaf, 0, place[np.where(leaf, 0, node["nodes_truenodeids"][nodes])]),
            np.where(leaf, 0, place[np.where(leaf, 0, node["nodes_falsenodeids"][nodes])]),
            value,
            columns,
        )


_READ = {"TreeEnsemble": _ensemble, "TreeEnsembleRegressor": _regressor}


def _tree(
    feature: Column, threshold: Column, left: Column, right: Column, value: Column, columns: int
) -> Tree:
    """The tree, without the negated columns that follow the `columns` of the features.

    `-x <= u` is `x >= -u`: its left is where `x` is above the number before `-u`.
    """
    negated = feature >= columns
    return Tree(
        column=np.where(negated, feature - columns, feature).astype(np.int64),
        threshold=np.where(negated, np.nextafter(-threshold, -np.inf), threshold),
        left=np.where(negated, right, left).astype(np.int64),
        right=np.where(negated, left, right).astype(np.int64),
        value=value,
    )
