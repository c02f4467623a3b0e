"""Contributions of many trees, by several processes at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

from streamflow.errors import ProcessFailed
from streamflow.reasons import shapley
from streamflow.reasons.forms.trees import TreeSum
from streamflow.reasons.shapley import Question
from streamflow.training.served_model import Matrix

# Sums are made by groups of so many trees, so that the number of processes changes no bit.
_TREES_TOGETHER = 25


def tree_contributions(score: TreeSum, question: Question, processes: int) -> Matrix:
    """As `shapley.tree_contributions`, by up to so many processes; the same to the last bit for any
    number of them.

    Raises ProcessFailed if the system ends one of them, Unexplainable as they do.
    """
    starts = range(0, len(score.trees), _TREES_TOGETHER)
    groups = [replace(score, trees=score.trees[one : one + _TREES_TOGETHER]) for one in starts]
    processes = min(processes, len(groups))
    if processes <= 1:
        return _added(map(shapley.tree_contributions, groups, [question] * len(groups)))
    # A process that is forked from one with threads may find locks closed for ever.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(question,))
    try:
        return _added(pool.map(_contributions, groups))
    except BrokenProcessPool as error:
        raise ProcessFailed(
            "A process that computes contributions was ended from outside.",
            "If memory was short, free some; then run the same command again.",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _added(parts: Iterator[Matrix]) -> Matrix:
    total = next(parts)
    for part in parts:
        total = total + part
    return total


_question: list[Question] = []


def _begin(question: Question) -> None:
    _question.append(question)
    # Ctrl-C is sent to these processes too; the one that started them ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it is killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _contributions(score: TreeSum) -> Matrix:
    return shapley.tree_contributions(score, _question[0])
