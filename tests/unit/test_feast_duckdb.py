"""Feast's store for DuckDB by itself: Parquet files in, features of a moment out."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

EARLY, LATE = datetime(2024, 1, 31, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC)
KNOWN = datetime(2024, 3, 10, tzinfo=UTC)
# Of (1, 11) and (11, 1); a correction, one that came later, a stranger's null, a minus zero.
ROWS = [
    (1, 11, EARLY, datetime(2024, 2, 1, tzinfo=UTC), -0.0, 5),
    (11, 1, EARLY, datetime(2024, 2, 1, tzinfo=UTC), 1.5, None),
    (1, 11, LATE, datetime(2024, 3, 1, tzinfo=UTC), 2.5, 6),
    (1, 11, LATE, datetime(2024, 3, 5, tzinfo=UTC), float("nan"), 7),
    (1, 11, LATE, datetime(2024, 3, 15, tzinfo=UTC), 9.5, 8),
    (2, 2, EARLY, None, 4.5, 9),
]
ENTITIES = """SELECT * FROM (VALUES (1, 11), (11, 1), (2, 2)) AS given (left_id, right_id),
(SELECT '{}'::timestamptz AS event_timestamp)"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store of Feast with one view of two keys."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64, Int64

    folder = tmp_path_factory.mktemp("feast")
    names = ["left_id", "right_id", "event_timestamp", "created", "level", "count"]
    columns = [pa.array(column) for column in zip(*ROWS, strict=True)]
    pq.write_table(pa.table(dict(zip(names, columns, strict=True))), folder / "rows.parquet")
    store = FeatureStore(
        config=RepoConfig(
            project="one",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            offline_store={"type": "feast_duckdb.DuckDBOfflineStore", "known_at": KNOWN},
            entity_key_serialization_version=3,
        )
    )
    entities = [
        Entity(name=name, join_keys=[name], value_type=ValueType.INT64)
        for name in ("left_id", "right_id")
    ]
    view = FeatureView(
        name="levels",
        entities=entities,
        ttl=timedelta(days=40),
        schema=[
            *(Field(name=one.name, dtype=Int64) for one in entities),
            Field(name="level", dtype=Float64),
            Field(name="count", dtype=Int64),
        ],
        source=FileSource(
            name="rows",
            path=str(folder / "rows.parquet"),
            timestamp_field="event_timestamp",
            created_timestamp_column="created",
        ),
    )
    store.apply([*entities, view])
    return store


@pytest.fixture
def store(stored: Any) -> Iterator[Any]:
    yield stored
    stored.config.offline_store.conditions = {}
    stored.config.offline_store.known_at = KNOWN


def bits(value: float | None) -> bytes | None:
    return None if value is None else struct.pack(">d", value)


def features(store: Any, entities: Any, **how: Any) -> dict[tuple[int, int], tuple[Any, Any]]:
    from feast_duckdb import DuckDBOfflineStore

    views = [store.get_feature_view("levels")]
    names = ["levels:level", "levels:count"]
    job = DuckDBOfflineStore.get_historical_features(
        store.config, views, names, entities, store.registry, store.project, **how
    )
    rows = job.to_arrow().to_pylist()
    batches = pa.Table.from_batches(job.record_batches(ordered_by=["left_id"])).to_pylist()
    assert [row["left_id"] for row in batches] == sorted((row["left_id"] for row in rows), key=str)
    return {(one["left_id"], one["right_id"]): (bits(one["level"]), one["count"]) for one in rows}


AT_LATE = {(1, 11): (bits(float("nan")), 7), (11, 1): (bits(1.5), None), (2, 2): (None, None)}


@pytest.mark.parametrize("how", [{}, {"moment": LATE}], ids=["any moments", "one moment"])
@pytest.mark.parametrize("most_rows", [1_000_000, 1], ids=["at once", "by ranges of keys"])
def test_the_newest_row_that_was_known_comes_to_the_last_bit(
    store: Any, how: dict[str, Any], most_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feast_duckdb.key_ranges._MOST_ROWS", most_rows)
    assert features(store, ENTITIES.format(LATE), **how) == AT_LATE
    store.config.offline_store.known_at = datetime(2024, 3, 2, tzinfo=UTC)
    assert features(store, ENTITIES.format(LATE), **how)[1, 11] == (bits(2.5), 6)
    store.config.offline_store.known_at = datetime(2024, 2, 2, tzinfo=UTC)
    assert features(store, ENTITIES.format(LATE), **how)[1, 11] == (bits(-0.0), 5)


@pytest.mark.parametrize("moment", [None, datetime(2024, 3, 12, tzinfo=UTC)])
def test_a_row_that_is_too_old_is_none(store: Any, moment: datetime | None) -> None:
    found = features(store, ENTITIES.format("2024-03-12T00:00:00+00:00"), moment=moment)
    assert found == {**AT_LATE, (11, 1): (None, None)}


def test_a_condition_leaves_rows_out(store: Any) -> None:
    store.config.offline_store.conditions = {"rows": "known.count <> 7"}
    assert features(store, ENTITIES.format(LATE))[1, 11] == (bits(2.5), 6)


def test_entities_may_come_as_a_frame_with_times_of_their_own(store: Any) -> None:
    frame = pd.DataFrame(
        {"left_id": [1, 1], "right_id": [11, 12], "event_timestamp": [EARLY, LATE]}
    )
    assert features(store, frame) == {(1, 11): (bits(-0.0), 5), (1, 12): (None, None)}


def test_materialization_takes_the_newest_known_row_of_each_key(store: Any) -> None:
    from feast_duckdb import DuckDBOfflineStore

    source = store.get_feature_view("levels").batch_source
    given = (["left_id", "right_id"], ["count"], "event_timestamp", "created", EARLY, LATE)
    job = DuckDBOfflineStore.pull_latest_from_table_or_query(store.config, source, *given)
    rows = job.to_arrow().to_pylist()
    assert sorted(row["count"] or 0 for row in rows) == [0, 7]
    assert {row["event_timestamp"].date() for row in rows} == {EARLY.date(), LATE.date()}
    after = (*given[:4], LATE + timedelta(days=1), LATE + timedelta(days=9))
    job = DuckDBOfflineStore.pull_latest_from_table_or_query(store.config, source, *after)
    assert job.to_arrow().num_rows == 0


def test_known_at_needs_a_created_time(store: Any) -> None:
    from feast import FileSource

    from feast_duckdb.offline import known_rows

    with pytest.raises(ValueError, match="no created_timestamp_column"):
        known_rows(store.config, FileSource(name="bare", path="x.parquet", timestamp_field="t"))


def test_few_entity_rows_keep_the_sign_of_a_zero() -> None:
    """Why the store sets a threshold: DuckDB's plan for few rows loses it."""
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS k, '-0.0'::double AS level")
        rows = connection.execute("SELECT arg_max(level, ROW(k)) FROM t").fetchall()
    assert bits(rows[0][0]) == bits(0.0), "arg_max keeps it now: the threshold may go"
