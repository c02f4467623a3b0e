"""A sum of trees, in one notation for all libraries: a row goes left where its value is at most the
threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from streamflow.training.served_model import Matrix

Scale = Literal["probability", "log-odds"]
Indices = npt.NDArray[np.int64]

LEAF = -1


@dataclass(frozen=True)
class Tree:
    """Splits and leaves of one tree, an entry per node; its root is node 0.

    `column` is the column of the encoded matrix that a split looks at, or `LEAF`. A row goes to
    `left` where the column's value is at most `threshold`, otherwise to `right`; `value` is a
    leaf's.
    """

    column: Indices
    threshold: Matrix
    left: Indices
    right: Indices
    value: Matrix


@dataclass(frozen=True)
class TreeSum:
    """The score on `scale`: `offset` and the values of the leaves that a row falls into.

    The library rounds a row's values to `precision` before it compares them.
    """

    scale: Scale
    precision: type[np.float32] | type[np.float64]
    offset: float
    trees: Sequence[Tree]

    def rounded(self, matrix: Matrix) -> Matrix:
        """The encoded matrix as the library compares it."""
        return matrix.astype(self.precision).astype(np.float64)

    def values(self, matrix: Matrix) -> Matrix:
        """The score of each row of the encoded matrix, on `scale`."""
        rows = self.rounded(matrix)
        total = np.full(len(rows), self.offset)
        for tree in self.trees:
            total += tree.value[_leaves(tree, rows)]
        return total


@dataclass(frozen=True)
class LinearSum:
    """The score in log-odds: `offset` and each column of the encoded matrix times its weight."""

    offset: float
    weights: Matrix
    scale: Scale = "log-odds"

    def values(self, matrix: Matrix) -> Matrix:
        """The score of each row of the encoded matrix, in log-odds."""
        found: Matrix = self.offset + matrix @ self.weights
        return found


ScoreSum = TreeSum | LinearSum


class Unexplainable(ValueError):
    """A served form whose sum can't be read; the message says what is in it."""


def probabilities(scale: Scale, values: Matrix) -> Matrix:
    """Scores on the scale as probabilities."""
    if scale == "probability":
        return values
    # exp of a large number would overflow, and its inverse is 0 all the same.
    found: Matrix = 1.0 / (1.0 + np.exp(np.minimum(-values, 700.0)))
    return found


def _leaves(tree: Tree, rows: Matrix) -> Indices:
    """The leaf that each row falls into."""
    node = np.zeros(len(rows), np.int64)
    going = np.flatnonzero(tree.column[node] != LEAF)
    while len(going):
        at = node[going]
        is_left = rows[going, tree.column[at]] <= tree.threshold[at]
        node[going] = np.where(is_left, tree.left[at], tree.right[at])
        going = going[tree.column[node[going]] != LEAF]
    return node
