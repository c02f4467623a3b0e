"""Shapley values of features in a served model's score, against rows of a background.

The players are the features, not the encoded columns: a feature's columns come together, from the
entity or from a row of the background, as they do in any real row. The value of a coalition is the
score's mean over the background where the coalition's features are the entity's (interventional
Shapley values; Lundberg and others, 2020, Nature Machine Intelligence 2, algorithm 3). What the
leaves weigh is computed by woodelf (Nadel and Wettenstein, 2026, AAAI-40): per leaf, a row is
reduced to which of the path's features let it pass, and rows with the same pattern share their
values, so that the time is that of entities and background rows together, not of their pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamflow.reasons.forms.trees import LEAF, LinearSum, ScoreSum, Tree, TreeSum, Unexplainable
from streamflow.training.served_model import Matrix

if TYPE_CHECKING:
    from woodelf.core.path_to_s_vectors.base_p2s import WoodelfPathToSVectors
    from woodelf.core.path_to_s_vectors.mn_background_p2s import MNBackgroundFasterPathToSVectors

# Per row a number of as many bits as a path has features; bit 0 is the newest feature's.
Patterns = npt.NDArray[Any]

MOST_FEATURES_ON_A_PATH = 62
# Of up to so many bits, all patterns get their weights, otherwise those that rows have.
_MOST_TABULATED = 14
_PAIRS_AT_A_TIME = 1_000_000


@dataclass(frozen=True)
class Question:
    """Rows of the matrix that the model takes, to explain, and the background's rows.

    `blocks` has the model's columns of each feature, in the schema's order.
    """

    rows: Matrix
    background: Matrix
    blocks: Sequence[slice | npt.NDArray[np.int64]]


def base_value(score: ScoreSum, background: Matrix) -> float:
    """The mean score of the background, on the score's scale."""
    return float(score.values(background).mean())


def linear_contributions(score: LinearSum, question: Question) -> Matrix:
    """Each feature's part of the rows' scores: its weights times its distances from the
    background's means. Shape (rows, features), in log-odds."""
    terms = (question.rows - question.background.mean(axis=0)) * score.weights
    return np.stack([terms[:, block].sum(axis=1) for block in question.blocks], axis=1)


def tree_contributions(score: TreeSum, question: Question) -> Matrix:
    """The features' Shapley values of the rows, summed over the trees; (rows, features), on the
    score's scale.

    Raises Unexplainable if a path has more than `MOST_FEATURES_ON_A_PATH` features.
    """
    together = np.concatenate([question.rows, question.background])
    coded = _Coded.of(score, together)
    feature_of = np.zeros(together.shape[1], np.int64)
    for number, block in enumerate(question.blocks):
        feature_of[block] = number
    found = np.zeros((len(question.blocks), len(question.rows)))
    for tree in score.trees:
        for path in _paths(coded, tree, feature_of):
            _add(found, path, len(question.rows))
    return found.T


@dataclass(frozen=True)
class _Coded:
    """Rows in which each value is the number of the column's thresholds that are below it.

    A value is at most the threshold with the number n exactly where its code is at most n: so that
    splits compare small integers.
    """

    thresholds: Sequence[Matrix]
    columns: Sequence[Patterns]

    @staticmethod
    def of(score: TreeSum, rows: Matrix) -> _Coded:
        rounded = score.rounded(rows)
        split_by: list[list[Matrix]] = [[] for _ in range(rows.shape[1])]
        for tree in score.trees:
            for column in np.unique(tree.column[tree.column != LEAF]).tolist():
                split_by[column].append(tree.threshold[tree.column == column])
        thresholds = [np.unique(np.concatenate(one)) if one else np.zeros(0) for one in split_by]
        codes = [
            np.searchsorted(known, rounded[:, column]).astype(_unsigned(len(known)))
            for column, known in enumerate(thresholds)
        ]
        return _Coded(thresholds, codes)

    def passes(self, column: int, threshold: float) -> npt.NDArray[np.bool_]:
        """Per row whether its value is at most the threshold."""
        code = np.searchsorted(self.thresholds[column], threshold)
        found: npt.NDArray[np.bool_] = self.columns[column] <= code
        return found


@dataclass(frozen=True)
class _Path:
    """The features on the way to a leaf, each row's pattern, and the leaf's value.

    A leaf whose sibling differs by the newest feature alone stands for both: `sibling` is the value
    where that feature's bit is turned over.
    """

    features: tuple[int, ...]
    patterns: Patterns
    value: float
    sibling: float | None = None


def _paths(coded: _Coded, tree: Tree, feature_of: npt.NDArray[np.int64]) -> Iterator[_Path]:
    """The paths to the tree's leaves; none for a tree without a split, which no feature decides."""
    if tree.column[0] == LEAF:
        return
    bits = min(len(np.unique(feature_of[tree.column[tree.column != LEAF]])), len(tree.column) // 2)
    if bits > MOST_FEATURES_ON_A_PATH:
        raise Unexplainable(
            f"a tree that splits by {bits} features; up to {MOST_FEATURES_ON_A_PATH} can be "
            "explained"
        )
    kind = _unsigned(2**bits - 1)
    rows = len(coded.columns[0])
    waiting: list[tuple[int, tuple[int, ...], Patterns]] = [(0, (), np.zeros(rows, kind))]
    while waiting:
        node, features, patterns = waiting.pop()
        column = int(tree.column[node])
        if column == LEAF:
            yield _Path(features, patterns, float(tree.value[node]))
            continue
        left, right = int(tree.left[node]), int(tree.right[node])
        feature = int(feature_of[column])
        is_left = coded.passes(column, float(tree.threshold[node]))
        if feature not in features:
            shifted = patterns << kind(1)
            if tree.column[left] == LEAF and tree.column[right] == LEAF:
                value, sibling = float(tree.value[left]), float(tree.value[right])
                yield _Path((*features, feature), shifted | is_left, value, sibling)
            else:
                waiting.append((left, (*features, feature), shifted | is_left))
                waiting.append((right, (*features, feature), shifted | ~is_left))
        else:
            without = patterns & ~kind(1 << (len(features) - 1 - features.index(feature)))
            waiting.append((left, features, np.where(is_left, patterns, without)))
            waiting.append((right, features, np.where(is_left, without, patterns)))


def _add(found: Matrix, path: _Path, rows: int) -> None:
    """Add the leaf's part of each row's contributions; `found` is (features, rows)."""
    bits = len(path.features)
    seen, place = None, path.patterns[:rows]
    if bits > _MOST_TABULATED:
        seen, place = np.unique(place, return_inverse=True)
    by_feature = _leaf_weights(bits).get_background_s_matrix(
        list(path.features), seen, path.patterns[rows:], path.value, path.sibling
    )
    place = place.astype(np.intp)
    for feature, weights in by_feature.items():
        found[feature] += np.ascontiguousarray(weights).take(place)


def _leaf_weights(bits: int) -> WoodelfPathToSVectors | MNBackgroundFasterPathToSVectors:
    """What computes a leaf's weights: of all patterns of so few bits, or of those that are seen."""
    return _tabulated() if bits <= _MOST_TABULATED else _of_seen_patterns()


# Of woodelf's parts these alone are used: its explainer reads trees out of estimators, and there
# are none, and its tables of weights are in float32. They have no public names, so that the version
# is bounded in pyproject.toml.
@cache
def _tabulated() -> WoodelfPathToSVectors:
    from woodelf.core.cube_metric import ShapleyValues
    from woodelf.core.path_to_s_vectors.woodelf_p2s import HighDepthWoodelfPathToSVectors

    made = HighDepthWoodelfPathToSVectors(ShapleyValues(), _MOST_TABULATED)
    for bits, features in made.matrices_frs_subsets.items():
        cubes = made.map_patterns_to_cube(list(range(bits)))
        exact = made.build_patterns_to_values_sparse_matrix(cubes, made.metric)
        made.matrices[bits] = np.array([exact[one] for one in features]).T
    return made


@cache
def _of_seen_patterns() -> MNBackgroundFasterPathToSVectors:
    from woodelf.core.cube_metric import ShapleyValues
    from woodelf.core.path_to_s_vectors.mn_background_p2s import MNBackgroundFasterPathToSVectors

    made = MNBackgroundFasterPathToSVectors(ShapleyValues(), MOST_FEATURES_ON_A_PATH)
    made.BATCH_SIZE = _PAIRS_AT_A_TIME
    return made


def _unsigned(most: int) -> type[np.uint8] | type[np.uint16] | type[np.uint32] | type[np.uint64]:
    """The smallest unsigned type that holds `most`."""
    for kind in (np.uint8, np.uint16, np.uint32):
        if most <= np.iinfo(kind).max:
            return kind
    return np.uint64
