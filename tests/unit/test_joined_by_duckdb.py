"""The query of DuckDB's point-in-time join, beside the rule in words, over random rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_duckdb.key_ranges import key_ranges
from feast_duckdb.point_in_time import newest_rows_query, point_in_time_query, rows_of_moment
from feast_known.view_query import ViewQuery

MOMENT = datetime(2024, 2, 29, tzinfo=UTC)
DAYS_OLD = st.sampled_from([-1, 0, 0, 0, 1, 30])
CREATED = st.sampled_from([None, 0, 1, 2, 3])
# An entity may have several rows, and null is no key.
ENTITIES = ["a", "a", "A", "é", None]
KEYS = st.sampled_from([*ENTITIES, "x"])
VALUES = st.one_of(st.none(), st.sampled_from([-0.0, 0.0, 1.5, 2.5, 3.5]))
ROWS = st.lists(st.tuples(KEYS, DAYS_OLD, CREATED, VALUES), min_size=6, max_size=20)
NAMES = ("user_id", "event_timestamp", "there0", "c1")


def view(number: int, keys: Sequence[str], ttl_seconds: int) -> ViewQuery:
    return ViewQuery(
        source=f"rows_{number}",
        keys={key: "key" for key in keys},
        features={f"value_{number}": "value"},
        event_timestamp="event",
        created_timestamp="created",
        ttl_seconds=ttl_seconds,
    )


def newest(rows: Sequence[Any], key: str | None, ttl_days: int) -> list[str]:
    """The values that may be joined, as texts: of rows with the same times, any of them."""
    meets = [
        (-days, created, repr(value))
        for other, days, created, value in rows
        if days >= 0 and created is not None and other == key and not 0 < ttl_days < days
    ]
    best = max(((days, created) for days, created, _ in meets), default=None)
    return [value for *times, value in meets if tuple(times) == best] or ["None"]


@given(
    tables=st.lists(ROWS, min_size=2, max_size=2),
    ttl_days=st.sampled_from([0, 7, 45]),
    one_moment=st.booleans(),
    unique_rows=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_each_entity_row_comes_once_with_the_newest_row_of_each_view(
    tables: list[Any], ttl_days: int, one_moment: bool, unique_rows: bool
) -> None:
    if unique_rows:
        tables = [[*{row[:3]: row for row in table}.values()] for table in tables]
    views = [view(number, ["user_id"], ttl_days * 86_400) for number in range(2)]
    # Columns of entity rows may have any name.
    given = "SELECT unnest($entities::varchar[]), $moment::timestamptz, 7, 8"
    rows = f"({given}) AS given ({', '.join(NAMES)})"
    query = point_in_time_query(
        f"(SELECT * FROM {rows})",
        NAMES,
        NAMES[1],
        views,
        MOMENT if one_moment else None,
        unique_rows,
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET asof_loop_join_threshold = 0")
        for number, table in enumerate(tables):
            add(connection, f"rows_{number}", table)
        asked = {"entities": ENTITIES, "moment": MOMENT}
        found = connection.execute(query, asked).fetchall()
        if one_moment:
            parts = [
                connection.execute(part, asked).fetchall()
                for part in by_ranges(connection, rows, views, unique_rows)
            ]
            assert sorted(map(repr, chain(*parts))) == sorted(map(repr, found))
            ids = [row[0] for row in chain(*(sorted(part, key=in_order) for part in parts))]
            assert ids == ["A", "a", "a", "é", None]
    assert sorted(map(str, (row[0] for row in found))) == sorted(map(str, ENTITIES))
    for key, moment, there, other, *values in found:
        assert (moment, there, other) == (MOMENT, 7, 8)
        for value, table in zip(values, tables, strict=True):
            # Null isn't a key.
            assert repr(value) in (newest(table, key, ttl_days) if key is not None else ["None"])


def by_ranges(
    connection: duckdb.DuckDBPyConnection, rows: str, views: list[ViewQuery], unique_rows: bool
) -> list[str]:
    """The queries by ranges of keys, where three rows are too many for one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feast_duckdb.key_ranges._MOST_ROWS", 3)
        ranges = key_ranges(connection, views, [rows_of_moment(one, MOMENT) for one in views])
    return [
        point_in_time_query(
            f"(SELECT * FROM {rows})", NAMES, NAMES[1], views, MOMENT, unique_rows, within
        )
        for within in ranges or [None]
    ]


def in_order(row: tuple[str | None, ...]) -> tuple[bool, bytes]:
    return row[0] is None, (row[0] or "").encode()


@pytest.mark.parametrize("moment", [None, MOMENT])
def test_a_view_without_keys_has_one_newest_row_for_all(moment: datetime | None) -> None:
    table = [("x", 1, 0, 1.5), ("y", 0, 1, 2.5), ("z", 0, 2, 3.5), ("z", -1, 3, 4.5)]
    given = "(SELECT unnest(['a', 'b']) AS user_id, $moment::timestamptz AS event_timestamp)"
    query = point_in_time_query(given, NAMES[:2], NAMES[1], [view(0, [], 0)], moment)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for rows, expected in ((table, 3.5), (table[:1], 1.5), ([], None)):
            add(connection, "rows_0", rows)
            found = connection.execute(query, {"moment": MOMENT}).fetchall()
            assert sorted(row[::2] for row in found) == [("a", expected), ("b", expected)]


@given(table=ROWS, unique_rows=st.booleans())
@settings(max_examples=100, deadline=None)
def test_the_newest_row_of_each_key_is_found_once(table: list[Any], unique_rows: bool) -> None:
    if unique_rows:
        table = [*{row[:3]: row for row in table}.values()]
    last = MOMENT - timedelta(days=min(days for _, days, _, _ in table))
    query = newest_rows_query(view(0, ["user_id"], 0), last, unique_rows)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        add(connection, "rows_0", table)
        found = connection.execute(query).fetchall()
    # As if all had come a day before the moment.
    earlier = [(key, days + 1, created, value) for key, days, created, value in table]
    assert sorted(map(str, (key for key, _ in found))) == sorted(
        {str(key) for key, _, created, _ in table if created is not None}
    )
    for key, value in found:
        assert repr(value) in newest(earlier, key, 0)


def add(connection: duckdb.DuckDBPyConnection, name: str, rows: Sequence[Any]) -> None:
    connection.execute(
        f"CREATE OR REPLACE TABLE {name} "
        "(key varchar, event timestamptz, created timestamptz, value double)"
    )
    for key, days, created, value in rows:
        times = [MOMENT - timedelta(days=days), None]
        if created is not None:
            times[1] = MOMENT + timedelta(days=created)
        connection.execute(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", [key, *times, value])
