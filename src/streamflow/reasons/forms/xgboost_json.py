"""The trees of XGBoost's JSON form.

The format is XGBoost's documented schema: a row goes left where its float32 value is below the
float32 threshold, and a leaf's value stands where a split has its threshold.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from streamflow.reasons.forms.trees import LEAF, Tree, TreeSum, Unexplainable


def xgboost_sum(text: str) -> TreeSum:
    """The booster's sum in log-odds. Raises Unexplainable for what isn't a plain sum of trees."""
    learner = json.loads(text)["learner"]
    objective = learner["objective"]["name"]
    if objective != "binary:logistic":
        raise Unexplainable(f"XGBoost with the objective {objective!r}")
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        raise Unexplainable(f"XGBoost with the booster {booster['name']!r}")
    base = float(np.float32(learner["learner_model_param"]["base_score"].strip("[]")))
    trees = [_tree(one) for one in booster["model"]["trees"]]
    return TreeSum("log-odds", np.float32, float(np.log(base) - np.log1p(-base)), trees)


def _tree(tree: dict[str, Any]) -> Tree:
    if any(tree["split_type"]) or tree["tree_param"].get("size_leaf_vector", "1") not in ("0", "1"):
        raise Unexplainable("XGBoost with splits by category, or leaves of several values")
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    is_leaf = left == -1
    conditions = np.array(tree["split_conditions"], dtype=np.float32).astype(np.float64)
    return Tree(
        column=np.where(is_leaf, LEAF, np.array(tree["split_indices"])).astype(np.int64),
        # Below the threshold is at most the number before it.
        threshold=np.nextafter(conditions, -np.inf),
        left=np.where(is_leaf, 0, left).astype(np.int64),
        right=np.where(is_leaf, 0, right).astype(np.int64),
        value=np.where(is_leaf, conditions, 0.0),
    )
