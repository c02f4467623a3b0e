"""Rows that count as none have nulls, as when they were scored."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from streamflow.pipeline.month.scored_rows import without_outdated
from streamflow.training.served_model import Feature, FeatureSchema

NEWEST = datetime(2024, 3, 31, 23, 59, 59, 999999, tzinfo=UTC)
DAY = 86_400.0


def test_a_row_older_than_its_features_allow_counts_as_none_where_the_model_takes_that() -> None:
    schema = FeatureSchema(
        "service",
        "entity",
        "entity_id",
        (
            Feature("a", "lacking", "INT64", True, 45 * DAY, absent="null"),
            Feature("b", "strict", "STRING", True, 45 * DAY),
            Feature("c", "ageless", "BOOL", True, None, absent="null"),
        ),
    )
    times = [NEWEST, datetime(2024, 2, 29, tzinfo=UTC), datetime(2023, 12, 31, tzinfo=UTC), None]
    of_view = pa.array(times, pa.timestamp("us", "UTC"))
    table = pa.table(
        {
            "entity_id": ["1", "2", "3", "4"],
            "a": [1, 2, 3, None],
            "b": ["x", "x", "x", None],
            "c": [True, True, True, None],
            **{f"{view}__event_timestamp": of_view for view in schema.views},
        }
    )
    found = without_outdated(table, schema, dict.fromkeys(schema.views, NEWEST))
    assert found["a"].to_pylist() == [1, 2, None, None]
    assert found["b"].to_pylist() == ["x", "x", "x", None]
    assert found["c"].to_pylist() == [True, True, True, None]
