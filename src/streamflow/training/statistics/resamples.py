"""Resamples of rows: how often each row is drawn. What a figure is over them shows its uncertainty.

A resample is a count per row, so that scores are ranked once and never copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from streamflow.training.rows.entities import distinct, numbered
from streamflow.training.served_model import Labels

RESAMPLES = 1000

# How often each row was drawn: (rows,).
Times = npt.NDArray[np.int64]


def resamples(labels: Labels, entities: Sequence[str] | None, random_state: int) -> Iterator[Times]:
    """1,000 resamples of the rows, each label for itself; of the entities, where one of `entities`
    has several rows."""
    if entities is not None and have_several_rows(entities):
        return resamples_of_entities(entities, random_state)
    return resamples_of_rows(labels, random_state)


def unstratified_resamples(
    rows: int, entities: Sequence[str] | None, random_state: int
) -> Iterator[Times]:
    """1,000 resamples of the rows whatever their labels, so that the share of true ones varies too;
    of the entities, where one has several rows."""
    if entities is not None and have_several_rows(entities):
        yield from resamples_of_entities(entities, random_state)
        return
    random = np.random.default_rng(random_state)
    for _ in range(RESAMPLES):
        yield np.bincount(random.integers(0, rows, rows), minlength=rows)


def have_several_rows(entities: Sequence[str]) -> bool:
    """Whether one of them comes more than once."""
    return distinct(entities) < len(entities)


def resamples_of_rows(labels: Labels, random_state: int) -> Iterator[Times]:
    """1,000 resamples of the rows, as many of each label (0 or 1) as there are."""
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels != 1)
    random = np.random.default_rng(random_state)
    for _ in range(RESAMPLES):
        times = np.empty(len(labels), np.int64)
        for rows in (positive, negative):
            drawn = random.integers(0, len(rows), len(rows))
            times[rows] = np.bincount(drawn, minlength=len(rows))
        yield times


def resamples_of_entities(entities: Sequence[str], random_state: int) -> Iterator[Times]:
    """1,000 resamples of the entities, each with all its rows.

    The cluster bootstrap: Cameron, Gelbach and Miller (2008), "Bootstrap-based improvements for
    inference with clustered errors", Review of Economics and Statistics 90, 414-427.
    """
    count, entity_of_row = numbered(entities)
    random = np.random.default_rng(random_state)
    for _ in range(RESAMPLES):
        drawn = random.integers(0, count, count)
        yield np.bincount(drawn, minlength=count)[entity_of_row]
