"""The rows that a figure is measured on: which of them have a prediction, and which rows they are.

Figures of two models say which is better only if both were measured on the same rows, so each
figure is kept with the hash of its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from streamflow.hashes import Sha256
from streamflow.training import canonical, dataset_table
from streamflow.training.dataset_table import LABEL
from streamflow.training.rows import entities as rows_entities
from streamflow.training.rows.days import days
from streamflow.training.served_model import Feature, FeatureSchema, Labels

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class JudgedRows:
    """`hash` is over each row's as_of, entity and label, in this order, sorted; `positives` counts
    the labels that are true."""

    months: tuple[date, ...]
    rows: int
    positives: int
    hash: Sha256


def judged_rows(as_ofs: Sequence[date], entities: Sequence[str], labels: Labels) -> JudgedRows:
    """What identifies the rows, given in any order by their as_of, entity and label (0 or 1)."""
    of_rows = days(as_ofs)
    table = canonical.table(
        [
            ("as_of", "STRING", np.datetime_as_string(of_rows)),
            ("entity", "STRING", rows_entities.entities(entities).array),
            (LABEL, "BOOL", np.asarray(labels, dtype=np.bool_)),
        ]
    ).sort_by([("as_of", "ascending"), ("entity", "ascending")])
    return JudgedRows(
        months=tuple(np.unique(of_rows).tolist()),
        rows=table.num_rows,
        positives=int(np.count_nonzero(labels)),
        hash=canonical.hashes(table)[0],
    )


def of_scores(scores: pa.Table, as_of: date) -> JudgedRows:
    """Those of a table of validation scores; `as_of` where all are of one month."""
    labels = scores[LABEL].to_numpy().astype(np.int64)
    names = rows_entities.Entities(scores.column(0))
    return judged_rows(dataset_table.as_ofs(scores, as_of), names, labels)


@dataclass(frozen=True)
class Predictable:
    """The rows of a table that a model has a prediction for; the others are counted by the code of
    the problem that serving has with them."""

    table: pa.Table
    problems: dict[str, int]


def predictable(table: pa.Table, schema: FeatureSchema) -> Predictable:
    """The rows of a training set's table for which a model with this schema would be served."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept: pa.ChunkedArray | pa.Array = pa.array([True] * table.num_rows, pa.bool_())
    problems: dict[str, int] = {}

    def leave_out(code: str, refused: pa.ChunkedArray | pa.Array) -> None:
        nonlocal kept
        count = pc.sum(pc.and_(kept, refused)).as_py() or 0
        if count:
            problems[code] = problems.get(code, 0) + count
        kept = pc.and_(kept, pc.invert(refused))

    # In serving's order: a missing feature is found before a value that training never saw.
    for feature in schema.features:
        if not feature.may_be_null:
            leave_out("missing_features", _is_null(table[feature.name]))
    for feature in schema.features:
        if feature.unseen == "refuse":
            if not feature.takes_null:
                leave_out("unseen_null", _is_null(table[feature.name]))
            if feature.type == "STRING":
                leave_out("unseen_category", _unseen(table[feature.name], feature))
    return Predictable(table.filter(kept), problems)


def _is_null(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(column.type):  # NaN and infinity have no meaning to a model
        return pc.invert(pc.fill_null(pc.is_finite(column), False))
    return column.is_null()


def _unseen(column: pa.ChunkedArray, feature: Feature) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    seen = pa.array(feature.categories, pa.large_string())
    return pc.and_(column.is_valid(), pc.invert(pc.is_in(column, value_set=seen)))
