"""Parts of the training rows on which a search compares trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from streamflow.training.split import Split, Validation, divided
from streamflow.training.values_seen import RowNumbers

MOST_MONTHS, PARTS = 3, 5


@dataclass(frozen=True)
class Folds:
    """`said` tells in words what the rows are that trials are compared on."""

    splits: tuple[Split, ...]
    said: str


def folds(
    validation: Validation,
    entities: Sequence[str],
    as_ofs: Sequence[date],
    labels: RowNumbers,
    horizon: timedelta,
    random_state: int,
    rows: RowNumbers,
) -> Folds:
    """Splits of `rows`, the training rows alone; positions are those in the training set.

    Out of time where the model itself is judged so and the training rows are of several months: on
    each of the newest three months, after training on those whose labels were known by then. Else
    on fifths of the rows, or of the entities where a model is judged on those. A split with one
    label in either part is left out; there may be none.
    """
    found: list[Split] = []
    said = ""
    days = np.array([as_ofs[row] for row in rows.tolist()], dtype="datetime64[D]")
    if validation.method == "out-of-time":
        months: list[date] = np.unique(days).tolist()
        for end in range(len(months), max(1, len(months) - MOST_MONTHS), -1):
            training, _, judging = divided(months[:end], horizon, 1)
            found.append(Split(rows[_of(days, training)], rows[_of(days, judging)]))
        found = [one for one in found if _both(one, labels)]
        said = f"{len(found)} months, each after training on those before it"
    if not found:
        found = [one for one in _parts(validation, entities, labels, random_state, rows)]
        found = [one for one in found if _both(one, labels)]
        what = "rows" if validation.method == "random" else "entities"
        said = f"{len(found)} parts of the {what} that are trained on"
    return Folds(tuple(found), said)


def _of(days: np.ndarray, months: Sequence[date]) -> np.ndarray:
    return np.isin(days, np.array(months, dtype="datetime64[D]"))


def _parts(
    validation: Validation,
    entities: Sequence[str],
    labels: RowNumbers,
    random_state: int,
    rows: RowNumbers,
) -> list[Split]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    own = labels[rows]
    parts = min(PARTS, int(np.bincount(own, minlength=2).min()))
    if parts < 2:
        return []
    if validation.method == "random":
        divided_rows = StratifiedKFold(parts, shuffle=True, random_state=random_state).split(
            rows, own
        )
    else:
        _, groups = np.unique([entities[row] for row in rows.tolist()], return_inverse=True)
        divided_rows = StratifiedGroupKFold(parts, shuffle=True, random_state=random_state).split(
            rows, own, groups
        )
    return [Split(rows[training], rows[judging]) for training, judging in divided_rows]


def _both(split: Split, labels: RowNumbers) -> bool:
    return all(
        len(part) and len(np.unique(labels[part])) == 2
        for part in (split.training_rows, split.validation_rows)
    )
