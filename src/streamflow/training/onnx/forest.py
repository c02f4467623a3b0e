"""A scikit-learn forest as ONNX whose scores and labels are the forest's own to the last bit.

scikit-learn rounds features to float32, compares them with float64 thresholds, adds up the leaves'
float64 shares of each class tree by tree, divides by the number of trees, and labels a row 1 where
class 1 has the greater mean. The graph does just that. (skl2onnx sums in float32, which
turns labels over at ties: docs/decisions/0002 has the figures.)

ONNX Runtime stores a split's "false" child next to it, and jumps to the other. So the child that
more of the training rows reached becomes the false one, which halves the time: a large forest does
not fit a processor's cache, and each jump waits for memory. Where that is the child of `x <= t`,
the split is `-x <= -u` instead, where `u` is the next number above `t`: the same rows, the other
way around.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamflow.training.onnx.graph import constant, model, node

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto, ValueInfoProto
    from sklearn.tree import DecisionTreeClassifier
    from sklearn.tree._tree import Tree

# One value per node or leaf.
Column = npt.NDArray[Any]

ML_OPSET = 5

# Two sums of the same shares in float64 can't be further apart than this for any real forest.
NEAR_A_TIE = 1e-9


def onnx_forest(trees: list[DecisionTreeClassifier], columns: int) -> bytes:
    """The mean of scikit-learn's two-class `trees` over a matrix of `columns` columns, as ONNX.

    Input `features`: float32 (rows, columns). Outputs `label`: int64 (rows,), and `probabilities`:
    float64 (rows, 2).
    """
    from onnx import TensorProto, helper

    def output(name: str, kind: int, *shape: int | str) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    double, integer, boolean = TensorProto.DOUBLE, TensorProto.INT64, TensorProto.BOOL
    # Class 0's sum is rounded for itself, so that near a tie it decides about the label. Far from
    # one it can't, and isn't computed.
    near_a_tie = helper.make_graph(
        [
            node("NonZero", "is_near", "row_numbers"),
            node("Reshape", "row_numbers flat", "tied"),
            node("Gather", "both_ways tied", "tied_features", axis=0),
            _sum_over_trees(trees, 0, "tied_features", "sum_of_0"),
            node("Div", "sum_of_0 trees", "mean_of_0"),
            node("Gather", "mean_of_1 tied", "tied_mean_of_1", axis=0),
            node("Greater", "tied_mean_of_1 mean_of_0", "greater_mean"),
            node("Unsqueeze", "tied second", "places"),
            node("ScatterND", "over_half places greater_mean", "decided"),
        ],
        "near_a_tie",
        [],
        [output("decided", boolean, "rows", 1)],
    )
    clear = helper.make_graph(
        [node("Identity", "over_half", "clear")], "clear", [], [output("clear", boolean, "rows", 1)]
    )
    graph = helper.make_graph(
        [
            node("Cast", "features", "exact_features", to=double),
            node("Neg", "exact_features", "negated_features"),
            node("Concat", "exact_features negated_features", "both_ways", axis=1),
            _sum_over_trees(trees, 1, "both_ways", "sum_of_1"),
            node("Div", "sum_of_1 trees", "mean_of_1"),
            node("Sub", "mean_of_1 half", "from_half"),
            node("Abs", "from_half", "distance"),
            node("Reshape", "distance flat", "distances"),
            node("Less", "distances tie", "is_near"),
            node("ReduceMin", "distances", "least_distance", keepdims=0),
            node("Less", "least_distance tie", "any_near_a_tie"),
            node("Greater", "mean_of_1 half", "over_half"),
            node("If", "any_near_a_tie", "is_1", then_branch=near_a_tie, else_branch=clear),
            node("Cast", "is_1", "label_column", to=integer),
            node("Reshape", "label_column flat", "label"),
            node("Sub", "one mean_of_1", "rest"),
            node("Concat", "rest mean_of_1", "probabilities", axis=1),
        ],
        "forest",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", columns])],
        [output("label", integer, "rows"), output("probabilities", double, "rows", 2)],
        [
            constant("trees", float(len(trees))),
            constant("half", 0.5),
            constant("one", 1.0),
            constant("tie", NEAR_A_TIE),
            constant("flat", np.array([-1], dtype=np.int64)),
            constant("second", np.array([1], dtype=np.int64)),
        ],
    )
    return model(graph, ML_OPSET)


def _sum_over_trees(
    trees: list[DecisionTreeClassifier], class_index: int, features: str, output: str
) -> NodeProto:
    """The sum of the shares of `class_index` in the leaves that a row falls into, in float64.

    `features` names a matrix of the features followed by the negated features.
    """
    from onnx import TensorProto, helper

    parts = [_flat(tree.tree_, class_index) for tree in trees]
    splits, leaves = [len(part["threshold"]) for part in parts], [len(p["share"]) for p in parts]
    first_split = np.cumsum([0, *splits[:-1]])
    first_leaf = np.cumsum([0, *leaves[:-1]])

    def joined(name: str) -> Column:
        return np.concatenate([part[name] for part in parts])

    def children(side: str) -> list[int]:
        moved = [
            part[side] + np.where(part[f"{side}_is_leaf"], first_leaf[i], first_split[i])
            for i, part in enumerate(parts)
        ]
        return list(np.concatenate(moved).tolist())

    def tensor(name: str, kind: int, values: Column) -> TensorProto:
        return helper.make_tensor(name, kind, [len(values)], values.tobytes(), raw=True)

    return helper.make_node(
        "TreeEnsemble",
        [features],
        [output],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function=1,  # sum
        post_transform=0,  # none
        tree_roots=first_split.tolist(),
        nodes_featureids=joined("feature").tolist(),
        nodes_splits=tensor("thresholds", TensorProto.DOUBLE, joined("threshold")),
        nodes_modes=tensor("modes", TensorProto.UINT8, np.zeros(sum(splits), np.uint8)),  # <=
        nodes_truenodeids=children("left"),
        nodes_trueleafs=joined("left_is_leaf").astype(np.int64).tolist(),
        nodes_falsenodeids=children("right"),
        nodes_falseleafs=joined("right_is_leaf").astype(np.int64).tolist(),
        leaf_targetids=[0] * sum(leaves),
        leaf_weights=tensor("shares", TensorProto.DOUBLE, joined("share")),
    )


def _flat(tree: Tree, class_index: int) -> dict[str, Column]:
    """One tree's splits and leaves, numbered apart, as the operator wants them."""
    is_leaf = tree.children_left == -1
    number = np.where(is_leaf, np.cumsum(is_leaf), np.cumsum(~is_leaf)) - 1
    split = np.flatnonzero(~is_leaf)
    left, right = tree.children_left[split], tree.children_right[split]
    feature, threshold = tree.feature[split], tree.threshold[split]
    turned = tree.n_node_samples[left] > tree.n_node_samples[right]
    flat = {
        "feature": np.where(turned, feature + tree.n_features, feature),
        "threshold": np.where(turned, -np.nextafter(threshold, np.inf), threshold),
        "share": np.ascontiguousarray(tree.value[is_leaf, 0, class_index]),
    }
    left, right = np.where(turned, right, left), np.where(turned, left, right)
    if not len(split):
        # The operator has no tree without a split: both ways lead to the one leaf.
        left = right = np.zeros(1, dtype=np.int64)
        flat |= {"feature": np.zeros(1, np.int64), "threshold": np.zeros(1)}
    for side, child in (("left", left), ("right", right)):
        flat |= {side: number[child], f"{side}_is_leaf": is_leaf[child]}
    return flat
