"""Scoring by columns has the results of scoring one by one, whatever the rows are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import FEATURES, FEBRUARY, JANUARY, schema
from tests.unit.test_scoring import VERSION, served

from streamflow.errors import NoAnswer
from streamflow.scores.chunks import chunks
from streamflow.scores.column_scoring import score_columns
from streamflow.serving.feature_status import MISSING, Clock, EntityRow
from streamflow.serving.scoring import ScoringRequest, score

TYPES = {"INT64": pa.int64(), "FLOAT64": pa.float64(), "BOOL": pa.bool_(), "STRING": pa.string()}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "INT64": st.integers(0, 5),
    "FLOAT64": st.floats(0, 5) | st.sampled_from([float("nan"), float("inf")]),
    "BOOL": st.booleans(),
    "STRING": st.sampled_from(["basic", "family", "platinum", ""]),
}
TIMES = st.sampled_from(
    [None, JANUARY, JANUARY, JANUARY, JANUARY - timedelta(days=30), JANUARY - timedelta(days=200)]
)


@st.composite
def rows(draw: st.DrawFn) -> list[EntityRow]:
    views = schema(*FEATURES).views
    found = []
    for _ in range(draw(st.integers(0, 8))):
        times = {view: draw(TIMES) for view in views}
        unwritten = draw(st.integers(0, 9)) == 0
        values = tuple(
            draw((st.just(MISSING) if unwritten else st.none()) | VALUES[one.type])
            if times[one.feature_view] is not None
            else None
            for one in FEATURES
        )
        found.append(EntityRow(tuple(times.values()), values))
    return found


def without_missing(value: object) -> object:
    return None if value is MISSING else value


@pytest.mark.parametrize("stale_features", ["refuse", "warn"])
@given(given_rows=rows(), materialized=st.booleans())
def test_columns_have_the_results_of_rows(
    stale_features: Any, given_rows: list[EntityRow], materialized: bool
) -> None:
    model = served()
    views = model.schema.views
    clock = Clock(FEBRUARY, dict.fromkeys(views, JANUARY) if materialized else {})
    ids = [f"user-{number}" for number in range(len(given_rows))]
    expected = score(
        model, [ScoringRequest(one, "") for one in ids], given_rows, clock, stale_features
    )
    columns = {
        model.schema.join_key: pa.array(ids, pa.string()),
        **{
            one.name: pa.array(
                [without_missing(row.values[i]) for row in given_rows], TYPES[one.type]
            )
            for i, one in enumerate(FEATURES)
        },
    }
    times = {
        view: pa.array([row.times[i] for row in given_rows], pa.timestamp("us", "UTC"))
        for i, view in enumerate(views)
    }
    found = score_columns(
        model,
        pa.RecordBatch.from_pydict(columns),
        pa.RecordBatch.from_pydict(times),
        clock,
        stale_features,
        {number: row for number, row in enumerate(given_rows) if MISSING in row.values},
    )
    problems = found.problems
    for row, one in enumerate(expected):
        if isinstance(one, NoAnswer):
            assert (problems[row].code, problems[row].message) == (one.code, one.message)
        else:
            assert row not in problems
            assert one.model is VERSION
            scored = found.labels[row], found.probabilities[row]
            assert scored == (one.prediction, one.probability)


@given(st.lists(st.integers(1, 30), max_size=5), st.integers(1, 20))
def test_chunks_are_the_rows_in_their_order(sizes: list[int], most: int) -> None:
    numbers = iter(range(sum(sizes)))
    batches = [
        pa.RecordBatch.from_pydict({"n": [next(numbers) for _ in range(size)]}) for size in sizes
    ]
    found = list(chunks(batches, most))
    assert all(1 <= one.num_rows <= most for one in found)
    assert [n for one in found for n in one.column(0).to_pylist()] == list(range(sum(sizes)))
