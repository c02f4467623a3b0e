"""What DuckDB is given is what it reads."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.columnar.literals import literal, rendered
from streamflow.columnar.session import READS_HISTORY
from streamflow.postgres.queries import identifier, named_queries, subquery

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    st.dates(),
    st.datetimes(
        datetime(1900, 1, 1),  # noqa: DTZ001
        datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=st.just(timezone(timedelta(hours=5))),
    ),
    st.timedeltas(timedelta(days=-30_000), timedelta(days=30_000)),
)


def read(text: str) -> object:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        row = connection.sql(f"SELECT {text} AS value").to_arrow_table().to_pylist()[0]
    value: object = row["value"]
    return value


@given(value=VALUES)
def test_a_value_comes_back(value: object) -> None:
    found = read(literal(value))
    if isinstance(value, timedelta):
        found = timedelta(days=found.days, microseconds=found.nanoseconds // 1000)  # type: ignore[attr-defined]
    assert found == value
    if isinstance(value, float):
        assert math.copysign(1, found) == math.copysign(1, value)  # type: ignore[arg-type]


def test_lists_are_lists() -> None:
    assert read(literal([date(2024, 1, 31)]) + "::date[]") == [date(2024, 1, 31)]
    assert read(literal([]) + "::bigint[]") == []


@pytest.mark.parametrize("value", [b"bytes", datetime(2024, 1, 1)])  # noqa: DTZ001
def test_what_has_no_literal_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        literal(value)


def test_per_cent_signs_of_names_and_subqueries_stay() -> None:
    names = {"key": identifier('a "%(x)s" %'), "history": subquery("(SELECT '5%' AS b)")}
    text = rendered("entities_at", names, {"as_of": date(2024, 1, 31), "known_at": None})
    assert '"a ""%(x)s"" %"' in text
    assert "(SELECT '5%' AS b)" in text


def test_what_reads_history_is_a_query() -> None:
    assert named_queries().keys() >= READS_HISTORY
    now = datetime(2024, 1, 31, 12, tzinfo=UTC)
    assert literal(now) == "'2024-01-31 12:00:00+00:00'::timestamptz"
