"""The trees of LightGBM's text form.

The format is read as LightGBM 4 writes it (`Tree::ToString`, and `NumericalDecision` for how a row
goes): a negative child is a leaf, numbered by its complement; two bits of `decision_type` say which
values count as missing.
"""

from __future__ import annotations

import re

import numpy as np

from streamflow.reasons.forms.trees import LEAF, Indices, Tree, TreeSum, Unexplainable
from streamflow.training.served_model import Matrix

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_ZERO_IS_MISSING = 1  # of the two bits above them
# LightGBM's kZeroThreshold: what is no further from 0 is 0.
_ZERO = 1e-35


def lightgbm_sum(text: str) -> TreeSum:
    """The booster's sum in log-odds. Raises Unexplainable for what isn't a plain sum of trees."""
    head, *sections = re.split(r"\nTree=\d+\n", text.partition("\nend of trees\n")[0])
    facts = _facts(head)
    objective, *options = facts.get("objective", "none").split(" ")
    if objective != "binary":
        raise Unexplainable(f"LightGBM with the objective {objective!r}")
    if facts.get("num_tree_per_iteration") != "1" or "average_output" in head.split("\n"):
        raise Unexplainable("LightGBM whose trees aren't simply added up")
    slope = float(dict(option.split(":", 1) for option in options if ":" in option)["sigmoid"])
    trees = [_tree(_facts(section), slope) for section in sections]
    return TreeSum("log-odds", np.float64, 0.0, trees)


def _facts(section: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in section.split("\n") if "=" in line)


def _tree(facts: dict[str, str], slope: float) -> Tree:
    if facts.get("is_linear", "0") != "0":
        raise Unexplainable("LightGBM with linear models in its leaves")
    values = _numbers(facts["leaf_value"]) * slope
    if int(facts["num_leaves"]) == 1:
        nothing = np.zeros(1, np.int64)
        return Tree(np.full(1, LEAF), np.zeros(1), nothing, nothing, values[:1])
    kinds = _numbers(facts["decision_type"]).astype(np.int64)
    if (kinds & _CATEGORICAL).any():
        raise Unexplainable("LightGBM with splits by category")
    column = _numbers(facts["split_feature"]).astype(np.int64)
    threshold = _numbers(facts["threshold"])
    splits = len(column)

    def children(name: str) -> Indices:
        numbers = _numbers(facts[name]).astype(np.int64)
        return np.where(numbers < 0, splits + ~numbers, numbers)

    left, right = children("left_child"), children("right_child")
    if _sends_zero_astray(kinds, threshold):
        raise Unexplainable("LightGBM that takes 0 for a missing value")
    rest = np.zeros(len(values), np.int64)
    return Tree(
        column=np.concatenate([column, np.full(len(values), LEAF)]),
        threshold=np.concatenate([threshold, rest.astype(np.float64)]),
        left=np.concatenate([left, rest]),
        right=np.concatenate([right, rest]),
        value=np.concatenate([np.zeros(splits), values]),
    )


def _sends_zero_astray(kinds: Indices, threshold: Matrix) -> bool:
    """Whether 0 counts as missing, and goes another way than the numbers beside it. No value that
    is encoded is NaN, so that no other value is missing."""
    zero_is_missing = ((kinds >> 2) & 3) == _ZERO_IS_MISSING
    goes_left = (kinds & _DEFAULT_LEFT) != 0
    astray = zero_is_missing & ((goes_left != (threshold >= 0.0)) | (np.abs(threshold) < _ZERO))
    return bool(astray.any())


def _numbers(text: str) -> Matrix:
    return np.array(text.split(), dtype=np.float64)
