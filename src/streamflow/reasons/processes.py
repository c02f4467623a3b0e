"""Contributions of many trees, by several processes at a time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from streamflow.reasons import shapley
from streamflow.reasons.forms.trees import TreeSum
from streamflow.reasons.shapley import Question
from streamflow.training.served_model import Matrix

# Sums are made by groups of so many trees, so that the number of processes changes no bit.
_TREES_TOGETHER = 25


def tree_contributions(score: TreeSum, question: Question, processes: int) -> Matrix:
    """As `shapley.tree_contributions`, by up to so many processes; the same to the last bit for any
    number of them.

    Raises BrokenProcessPool if the system ends one of them, Unexplainable as they do.
    """
    starts = range(0, len(score.trees), _TREES_TOGETHER)
    groups = [replace(score, trees=score.trees[one : one + _TREES_TOGETHER]) for one in starts]
    processes = min(processes, len(groups))
    if processes <= 1:
        return _added(map(shapley.tree_contributions, groups, [question] * len(groups)))
    # A process that is forked from one with threads may find locks closed for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_keep, initargs=(question,)) as pool:
        return _added(pool.map(_contributions, groups))


def _added(parts: Iterator[Matrix]) -> Matrix:
    total = next(parts)
    for part in parts:
        total = total + part
    return total


_question: list[Question] = []


def _keep(question: Question) -> None:
    _question.append(question)


def _contributions(score: TreeSum) -> Matrix:
    return shapley.tree_contributions(score, _question[0])
