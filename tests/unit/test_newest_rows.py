"""Sorted streams side by side: each entity's newest row of each view, however batches are cut."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_postgres.reading import newest_rows

MOMENT = datetime(2024, 2, 29, tzinfo=UTC)
BEFORE = datetime(2024, 1, 31, tzinfo=UTC).replace(tzinfo=None)
KEYS = st.sets(st.text("ab0ü€😀", min_size=1, max_size=3), max_size=12)
Rows = list[tuple[str, int]]


@st.composite
def views(draw: st.DrawFn) -> tuple[Rows, dict[str, int]]:
    """Rows of the moment, several of which may have one key, the newest last; and one of before
    for some keys."""
    now = [
        (key, draw(st.integers(0, 99)))
        for key in draw(KEYS)
        for _ in range(draw(st.integers(1, 3)))
    ]
    return now, {key: draw(st.integers(100, 199)) for key in draw(KEYS)}


def source(name: str) -> Any:
    return SimpleNamespace(
        get_table_query_string=lambda: name,
        timestamp_field="event_timestamp",
        created_timestamp_column="recorded_at",
    )


@settings(max_examples=60)
@given(KEYS, st.lists(views(), min_size=1, max_size=3), st.integers(1, 5), st.integers(1, 4))
def test_each_entity_has_its_newest_row_of_each_view(
    entities: set[str], data: list[tuple[Rows, dict[str, int]]], most: int, in_a_batch: int
) -> None:
    def batches(
        config: object,
        query: str,
        ordered_by: Sequence[str] = (),
        then_by: Sequence[str] = (),
        batch_bytes: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        found = re.search(r"FROM view_(\d) ", query)
        if found is None:
            rows = pa.table({"key": pa.array(sorted(entities, key=str.encode), pa.string())})
        else:
            number = int(found[1])
            now, before = data[number]
            name = f"view_{number}_value"
            if "DISTINCT ON" in query:
                asked = re.search(r"ANY\('\{(.*)\}'::text\[\]\)", query)
                assert asked is not None
                there = [key for key in asked[1].split(",") if key in before]
                rows = pa.table(
                    {
                        "key": pa.array(there, pa.string()),
                        name: pa.array([before[key] for key in there], pa.int64()),
                        f"time_{number}": pa.array([BEFORE] * len(there), pa.timestamp("us")),
                    }
                )
            else:
                now = sorted(now, key=lambda row: row[0].encode())
                rows = pa.table(
                    {
                        "key": pa.array([key for key, _ in now], pa.string()),
                        name: pa.array([value for _, value in now], pa.int64()),
                    }
                )
        yield pa.RecordBatch.from_pylist([], rows.schema)
        yield from rows.to_batches(max_chunksize=in_a_batch)

    names = [f"view_{number}" for number in range(len(data))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(newest_rows, "record_batches", batches)
        patch.setattr(newest_rows, "_ENTITIES", most)
        found = list(
            newest_rows.newest_rows(
                SimpleNamespace(),
                "everyone",
                "key",
                [[f"{name}_value"] for name in names],
                [source(name) for name in names],
                [f"time_{number}" for number in range(len(data))],
                MOMENT,
            )
        )
    expected = []
    for key in sorted(entities, key=str.encode):
        row: dict[str, Any] = {"key": key}
        for number, (now, before) in enumerate(data):
            newest = dict(now).get(key, before.get(key))
            time = MOMENT.replace(tzinfo=None) if key in dict(now) else BEFORE
            row[f"view_{number}_value"] = newest
            row[f"time_{number}"] = None if newest is None else time
        expected.append(row)
    assert [row for batch in found for row in batch.to_pylist()] == expected
    assert all(0 < batch.num_rows <= most for batch in found)
