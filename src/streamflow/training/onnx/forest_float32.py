"""The same forest as `onnx_forest`, half as large: where float32 holds every sum of shares exactly.

That is so where leaves hold whole shares (0 or 1, as those of fully grown trees do), or halves, or
quarters. The operator with float32 thresholds also lets splits share a leaf, which its successor
with float64 doesn't: nearly all of a full tree's leaves are one of two. Fewer and smaller nodes are
fewer waits for memory, which is most of what a large forest's time goes to. And sums that are exact
may be added up in any order, so that many rows can go through a few trees at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamflow.training.onnx.graph import constant, model, node

if TYPE_CHECKING:
    from onnx import NodeProto
    from sklearn.tree import DecisionTreeClassifier
    from sklearn.tree._tree import Tree

# One value per node or leaf.
Column = npt.NDArray[Any]

ML_OPSET = 3
_EXACT_BITS = 24
# Of 24 bytes each: about as much as the cache of one core holds.
_NODES_TOGETHER = 80_000

# Per node and per leaf, in arrays by name.
_Tree = dict[str, Column]


def is_exact(trees: list[DecisionTreeClassifier]) -> bool:
    """Whether float32 holds every sum of `trees`' shares, whatever their order.

    It does if each is a multiple of a power of two so large that their sum has 24 bits at most.
    """
    step = 2.0 ** (_EXACT_BITS - 1 - int(np.ceil(np.log2(len(trees)))))
    shares = np.concatenate(
        [tree.tree_.value[:, 0][tree.tree_.children_left == -1] for tree in trees]
    )
    scaled = shares * step
    return bool((scaled == np.rint(scaled)).all() and (shares.sum(axis=1) == 1.0).all())


def onnx_forest_in_float32(trees: list[DecisionTreeClassifier], columns: int) -> bytes:
    """As `onnx_forest`, for trees that are exact."""
    from onnx import TensorProto, helper

    double, integer = TensorProto.DOUBLE, TensorProto.INT64
    sums = [
        _sum_over_trees(together, "both_ways", f"sum_{number}")
        for number, together in enumerate(_groups([_flat(tree.tree_) for tree in trees]))
    ]
    graph = helper.make_graph(
        [
            node("Neg", "features", "negated_features"),
            node("Concat", "features negated_features", "both_ways", axis=1),
            *sums,
            node("Sum", " ".join(one.output[0] for one in sums), "sum_of_1"),
            node("Greater", "sum_of_1 half_of_trees", "is_1"),
            node("Cast", "is_1", "label_column", to=integer),
            node("Reshape", "label_column flat", "label"),
            node("Cast", "sum_of_1", "exact_sum_of_1", to=double),
            node("Div", "exact_sum_of_1 trees", "mean_of_1"),
            node("Sub", "one mean_of_1", "rest"),
            node("Concat", "rest mean_of_1", "probabilities", axis=1),
        ],
        "forest",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", columns])],
        [
            helper.make_tensor_value_info("label", integer, ["rows"]),
            helper.make_tensor_value_info("probabilities", double, ["rows", 2]),
        ],
        [
            constant("trees", float(len(trees))),
            constant("half_of_trees", np.float32(len(trees) / 2)),
            constant("one", 1.0),
            constant("flat", np.array([-1], dtype=np.int64)),
        ],
    )
    return model(graph, ML_OPSET)


def _groups(trees: list[_Tree]) -> list[list[_Tree]]:
    """Trees in groups that fit the processor's cache.

    ONNX Runtime scores all rows with one group before the next group, so that only the first rows
    wait for memory.
    """
    groups: list[list[_Tree]] = []
    nodes = _NODES_TOGETHER
    for tree in trees:
        if nodes + len(tree["node"]) > _NODES_TOGETHER:
            groups.append([])
            nodes = 0
        groups[-1].append(tree)
        nodes += len(tree["node"])
    return groups


def _sum_over_trees(parts: list[_Tree], features: str, output: str) -> NodeProto:
    """The sum of the shares of class 1 in the leaves that a row falls into.

    `features` names a matrix of the features followed by the negated features.
    """
    from onnx import helper

    def joined(name: str) -> list[float]:
        return list(np.concatenate([part[name] for part in parts]).tolist())

    def of_trees(name: str) -> list[int]:
        return list(np.repeat(np.arange(len(parts)), [len(part[name]) for part in parts]).tolist())

    return helper.make_node(
        "TreeEnsembleRegressor",
        [features],
        [output],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=of_trees("node"),
        nodes_nodeids=joined("node"),
        nodes_modes=["LEAF" if is_leaf else "BRANCH_LEQ" for is_leaf in joined("is_leaf")],
        nodes_featureids=joined("feature"),
        nodes_values=joined("threshold"),
        nodes_truenodeids=joined("true"),
        nodes_falsenodeids=joined("false"),
        target_treeids=of_trees("leaf"),
        target_nodeids=joined("leaf"),
        target_ids=[0] * sum(len(part["leaf"]) for part in parts),
        target_weights=joined("share"),
    )


def _flat(tree: Tree) -> _Tree:
    """One tree's nodes, without the leaves that another one stands for.

    The true child may be shared. It is the leaf, where the other child is a split; where both are
    leaves or both are splits, it is the one that fewer training rows reached. Where that is the
    child of `x > t`, the split is turned around.
    """
    is_leaf = tree.children_left == -1
    share = tree.value[:, 0, 1]
    split = np.flatnonzero(~is_leaf)
    left, right = tree.children_left[split], tree.children_right[split]
    rows = tree.n_node_samples
    turned = np.where(is_leaf[left] == is_leaf[right], rows[left] > rows[right], is_leaf[right])
    true, false = np.where(turned, right, left), np.where(turned, left, right)
    # Leaves of the same share, by the first of them.
    to_leaf = is_leaf[true]
    _, first, group = np.unique(share[true[to_leaf]], return_index=True, return_inverse=True)
    true[to_leaf] = true[to_leaf][first][group]
    nodes = np.unique(np.concatenate([split, true, false, [0]]))
    leaves = nodes[is_leaf[nodes]]

    def by_node(kind: npt.DTypeLike, of_splits: Column) -> Column:
        values: Column = np.zeros(tree.node_count, kind)
        values[split] = of_splits
        found: Column = values[nodes]
        return found

    threshold = tree.threshold[split]
    feature = tree.feature[split]
    return {
        "node": nodes,
        "is_leaf": is_leaf[nodes],
        "feature": by_node(np.int64, np.where(turned, feature + tree.n_features, feature)),
        "threshold": by_node(
            np.float32, np.where(turned, -_above(threshold), _not_above(threshold))
        ),
        "true": by_node(np.int64, true),
        "false": by_node(np.int64, false),
        "leaf": leaves,
        "share": share[leaves],
    }


def _not_above(threshold: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The greatest float32 that isn't above: a float32 is below both or above both."""
    near = threshold.astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    found: npt.NDArray[np.float32] = np.where(near > threshold, below, near)
    return found


def _above(threshold: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The least float32 that is above."""
    above: npt.NDArray[np.float32] = np.nextafter(_not_above(threshold), np.float32(np.inf))
    return above
