"""Many entities at a time, as columns: the predictions that `scoring` has for the same rows.

Rows whose values are all present, or null where training had nulls, are checked and scored as
columns. Any other row goes through `scoring.score`, which knows every rule, so there is no second
copy of them here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from streamflow.errors import NoAnswer
from streamflow.serving.feature_status import Clock, EntityRow
from streamflow.serving.scoring import Needs, Prediction, ScoringRequest, Served, score
from streamflow.training import dataset_table
from streamflow.training.served_model import FeatureSchema, Labels, Matrix

if TYPE_CHECKING:
    import pyarrow as pa

Mask = npt.NDArray[np.bool_]

NOTHING: Mapping[int, EntityRow] = MappingProxyType({})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_ROW = np.iinfo(np.int64).min


@dataclass(frozen=True)
class ColumnScores:
    """Per row the model's label and its probability of 1; those of rows in `others` don't count.

    `others` has by their position the rows that were looked at one by one: the prediction, which
    may have warnings, or why there is none.
    """

    labels: Labels
    probabilities: Matrix
    others: dict[int, Prediction | NoAnswer]

    @property
    def problems(self) -> dict[int, NoAnswer]:
        """Why there is no prediction, by the position of the row."""
        return {row: one for row, one in self.others.items() if isinstance(one, NoAnswer)}


def score_columns(
    served: Served,
    rows: pa.RecordBatch,
    times: pa.RecordBatch,
    clock: Clock,
    stale_features: Literal["refuse", "warn"],
    by_themselves: Mapping[int, EntityRow] = NOTHING,
) -> ColumnScores:
    """The predictions for `rows`, by the same rules and to the same bits as one by one.

    `rows` has the entity's id and the model's features by their names (null for none); it may have
    more columns. `times` has per feature view, by its name, the event timestamp of the entity's row
    there (in microseconds, UTC), null where it has none. Rows that columns can't tell, as their
    features were never written, are given `by_themselves` too, by their position.
    """
    import pyarrow as pa

    schema = served.schema
    table = pa.Table.from_batches([rows])
    good = _met(served.needs, schema, table, times, clock)
    good[list(by_themselves)] = False
    labels, probabilities = np.zeros(rows.num_rows, np.int64), np.zeros(rows.num_rows)
    count = int(np.count_nonzero(good))
    if count:
        complete = table if count == rows.num_rows else table.filter(pa.array(good))
        columns = {one.name: dataset_table.values(complete, one) for one in schema.features}
        scored = served.model.predict(columns)
        if {len(scored[0]), len(scored[1])} != {count}:
            raise ValueError(f"the model returns {len(scored[0])} labels for {count} rows")
        labels[good], probabilities[good] = scored
    others = np.flatnonzero(~good)
    requests, entity_rows = _one_by_one(schema, table, times, others, by_themselves)
    results = score(served, requests, entity_rows, clock, stale_features)
    found = dict(zip(others.tolist(), results, strict=True))
    for row, one in found.items():
        if isinstance(one, Prediction):
            labels[row], probabilities[row] = one.prediction, one.probability
    return ColumnScores(labels, probabilities, found)


def _met(
    needs: Needs, schema: FeatureSchema, table: pa.Table, times: pa.RecordBatch, clock: Clock
) -> Mask:
    """The rows of which `scoring` would find that no feature has a problem."""
    oldest = clock.oldest(needs.allowed_ages)
    absent: dict[str, Mask] = {}
    of_views = [_microseconds(times.column(view)) for view in schema.views]
    kinds, kind_of_row = _distinct(of_views)
    fresh = [needs.fresh(tuple(map(_moment, kind)), oldest, clock) for kind in kinds]
    met = np.array(fresh, np.bool_)[kind_of_row]
    for view, column in zip(schema.views, of_views, strict=True):
        without = met & (column == _NO_ROW)
        if without.any():
            absent[view] = without
    for feature, strict in zip(schema.features, needs.strict, strict=True):
        column = table[feature.name]
        has_no_row = absent.get(feature.feature_view)
        if column.null_count or has_no_row is not None:
            is_null = _mask(column.is_null())
            allowed = ~is_null if strict else np.True_
            met &= allowed if has_no_row is None else np.where(has_no_row, is_null, allowed)
        if feature.type == "FLOAT64":
            met &= _finite_or_null(column)
        elif feature.type == "STRING":
            met &= _known_or_null(column, feature.categories)
    return met


def _distinct(
    columns: Sequence[npt.NDArray[np.int64]],
) -> tuple[list[tuple[int, ...]], npt.NDArray[np.intp]]:
    """The combinations of values that rows of the columns have, and per row the place of its own.

    Nearly all rows of a month are of one; of events that come at any time, each may be of its own.
    """
    place = np.zeros(len(columns[0]), np.intp)
    for column in columns:
        if not len(column) or (column == column[0]).all():
            continue
        values, codes = np.unique(column, return_inverse=True)
        # Numbered anew each time, so that the numbers stay small.
        _, place = np.unique(place * len(values) + codes, return_inverse=True)
    _, first, place = np.unique(place, return_index=True, return_inverse=True)
    return list(zip(*(column[first].tolist() for column in columns), strict=True)), place


def _one_by_one(
    schema: FeatureSchema,
    table: pa.Table,
    times: pa.RecordBatch,
    rows: npt.NDArray[np.intp],
    by_themselves: Mapping[int, EntityRow],
) -> tuple[list[ScoringRequest], list[EntityRow]]:
    chosen = table.take(rows)
    entities = chosen[schema.join_key].to_pylist()
    moments = [_microseconds(times.column(view))[rows].tolist() for view in schema.views]
    values = [chosen[one.name].to_pylist() for one in schema.features]
    found = [
        EntityRow(tuple(map(_moment, of_row)), of_values)
        for of_row, of_values in zip(
            zip(*moments, strict=True), zip(*values, strict=True), strict=True
        )
    ]
    if by_themselves:
        found = [by_themselves.get(row, one) for row, one in zip(rows.tolist(), found, strict=True)]
    return [ScoringRequest(one, "") for one in entities], found


def _microseconds(column: pa.Array) -> npt.NDArray[np.int64]:
    import pyarrow as pa

    numbers: npt.NDArray[np.int64] = column.cast(pa.int64()).fill_null(_NO_ROW).to_numpy()
    return numbers


def _moment(microseconds: int) -> datetime | None:
    if microseconds == _NO_ROW:
        return None
    return _EPOCH + timedelta(microseconds=microseconds)


def _mask(column: pa.ChunkedArray) -> Mask:
    mask: Mask = column.to_numpy()
    return mask


def _finite_or_null(column: pa.ChunkedArray) -> Mask:
    import pyarrow.compute as pc

    return _mask(pc.is_finite(column).fill_null(True))


def _known_or_null(column: pa.ChunkedArray, categories: tuple[str, ...]) -> Mask:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pa.array([*categories, None], column.type)
    return _mask(pc.is_in(column, value_set=known))
