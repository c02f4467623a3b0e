"""Many entities at a time, as columns: the predictions that `scoring` has for the same rows.

Rows whose values are all present, or null where training had nulls, are checked and scored as
columns. Any other row goes through `scoring.score`, which knows every rule, so there is no second
copy of them here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from streamflow.errors import NoAnswer
from streamflow.serving.feature_status import Clock, EntityRow
from streamflow.serving.scoring import Needs, Prediction, ScoringRequest, Served, Times, score
from streamflow.training import dataset_table
from streamflow.training.served_model import FeatureSchema, Labels, Matrix

if TYPE_CHECKING:
    import pyarrow as pa

Mask = npt.NDArray[np.bool_]

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
) -> ColumnScores:
    """The predictions for `rows`, by the same rules and to the same bits as one by one.

    `rows` has the entity's id and the model's features by their names (null for none); it may have
    more columns. `times` has per feature view, by its name, the event timestamp of the entity's row
    there (in microseconds, UTC), null where it has none.
    """
    import pyarrow as pa

    schema = served.schema
    table = pa.Table.from_batches([rows])
    good = _met(served.needs, schema, table, times, clock)
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
    requests, entity_rows = _one_by_one(schema, table, times, others)
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
    met = np.zeros(table.num_rows, np.bool_)
    oldest = clock.oldest(needs.allowed_ages)
    absent: dict[str, Mask] = {}
    for of_row, rows in _distinct_times(schema, times):
        if needs.fresh(of_row, oldest, clock):
            met |= rows
            for view, time in zip(schema.views, of_row, strict=True):
                if time is None:
                    absent[view] = absent.get(view, False) | rows
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


def _distinct_times(schema: FeatureSchema, times: pa.RecordBatch) -> Iterator[tuple[Times, Mask]]:
    """Each combination of times that rows have, with these rows."""
    columns = [_microseconds(times.column(view)) for view in schema.views]
    left = np.ones(times.num_rows, np.bool_)
    while left.any():
        first = int(np.argmax(left))
        values = [int(column[first]) for column in columns]
        rows = left.copy()
        for column, value in zip(columns, values, strict=True):
            rows &= column == value
        left &= ~rows
        yield tuple(_moment(value) for value in values), rows


def _one_by_one(
    schema: FeatureSchema, table: pa.Table, times: pa.RecordBatch, rows: npt.NDArray[np.intp]
) -> tuple[list[ScoringRequest], list[EntityRow]]:
    chosen = table.take(rows)
    entities = chosen[schema.join_key].to_pylist()
    moments = [_microseconds(times.column(view))[rows].tolist() for view in schema.views]
    values = [chosen[one.name].to_pylist() for one in schema.features]
    return [ScoringRequest(one, "") for one in entities], [
        EntityRow(tuple(map(_moment, of_row)), of_values)
        for of_row, of_values in zip(
            zip(*moments, strict=True), zip(*values, strict=True), strict=True
        )
    ]


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
