"""Moments as files write them, and what is wrong with a table's events."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests import tiny_case

from streamflow.history.contract_findings import contract_findings
from streamflow.history.values import checked
from streamflow.use_case import Count, Csv, DaysSince, Events, Sum, Table

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)


def read(text: str, kind: str = "time", date: str = "YYYY-MM-DD") -> tuple[Any, bool]:
    import pyarrow as pa

    values, wrong = checked(pa.array([text]), kind, Csv(date=date))
    return values[0].as_py(), wrong[0].as_py()


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31T12:00:00Z",
        "2024-01-31 12:00Z",
        "2024-01-31T13:00:00+01:00",
        "2024-01-31T06:30:00.000000-0530",
        "2024-01-31T10:00:00-02",
    ],
)
def test_a_moment_with_an_offset_is_taken_in_utc(text: str) -> None:
    assert read(text) == (NOON, False)


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31T12:00:00",
        "2024-01-31",
        "2024-02-31T12:00:00Z",
        "2024-01-31T25:00:00Z",
        "2024-01-31T12:00:00.1234567Z",
        "12:00:00Z",
        "1706702400",
    ],
)
def test_what_is_no_moment_with_an_offset_is_refused(text: str) -> None:
    assert read(text) == (None, True)


def test_a_moment_without_an_offset_is_in_utc_where_the_events_say_so() -> None:
    assert read("2024-01-31T12:00:00", "time in UTC") == (NOON, False)
    assert read("2024-01-31T13:00:00+01:00", "time in UTC") == (NOON, False)


@pytest.mark.parametrize("text", ["2024-01-31", "31.01.2024", "31.01.2024 00:00"])
def test_a_day_alone_is_its_first_moment_where_moments_are_in_utc(text: str) -> None:
    assert read(text, "time in UTC", "DD.MM.YYYY") == (datetime(2024, 1, 31, tzinfo=UTC), False)


def test_a_moment_has_its_day_in_the_order_of_the_table() -> None:
    assert read("31.01.2024 13:00:00+01:00", date="DD.MM.YYYY") == (NOON, False)
    assert read("2024-01-31T12:00:00Z", date="DD.MM.YYYY") == (NOON, False)
    assert read("31.01.2024 13:00:00+01:00") == (None, True)
    assert read("31.01.2024 12:00", date="DD.MM.YYYY") == (None, True)


def test_a_date_of_parquet_is_its_first_moment_where_moments_are_in_utc() -> None:
    import pyarrow as pa

    days = pa.array([date(2024, 1, 31), None])
    values, wrong = checked(days, "time in UTC", Csv())
    assert values.to_pylist() == [datetime(2024, 1, 31, tzinfo=UTC), None]
    assert not any(wrong.to_pylist())
    assert checked(days, "time", Csv())[1].to_pylist() == [True, False]


@given(
    st.datetimes(), st.integers(-12 * 60, 14 * 60).map(lambda one: timezone(timedelta(minutes=one)))
)
def test_what_python_writes_is_the_same_moment(there: datetime, zone: timezone) -> None:
    assume(1 < there.year < 9999)
    moment = there.replace(tzinfo=zone)
    assert read(moment.isoformat()) == (moment.astimezone(UTC), False)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_timestamp_of_parquet_needs_a_time_zone_too(unit: str) -> None:
    import pyarrow as pa

    naive = pa.array([NOON.replace(tzinfo=None)], pa.timestamp(unit))
    zoned = pa.array([NOON], pa.timestamp(unit, "America/New_York"))
    assert checked(naive, "time", Csv())[1].to_pylist() == [True]
    assert checked(naive, "time in UTC", Csv())[0].to_pylist() == [NOON]
    assert checked(zoned, "time", Csv())[0].to_pylist() == [NOON]


def test_nanoseconds_that_are_no_microseconds_are_refused() -> None:
    import pyarrow as pa

    column = pa.array([1], pa.timestamp("ns", "UTC"))
    assert checked(column, "time", Csv())[1].to_pylist() == [True]


def test_a_timestamp_beyond_the_year_9999_is_refused() -> None:
    import pyarrow as pa

    column = pa.array([2**50, -(2**50)], pa.timestamp("s", "UTC"))
    assert checked(column, "time", Csv())[1].to_pylist() == [True, True]


def events(**changes: Any) -> Events:
    from pandera.pandas import Column, DataFrameSchema

    contract = DataFrameSchema(
        {
            "machine_id": Column("string"),
            "stopped_at": Column("datetime64[us, UTC]"),
            "minutes": Column("Float64"),
            "reason": Column("string"),
        }
    )
    right = Events(contract, "machine_id", "stopped_at", {"stops_30d": Count(days=30)})
    return replace(right, **changes)


def said(table: Table) -> list[str]:
    machines, _, failures = tiny_case.tables()
    use_case = replace(tiny_case.use_case, tables=lambda: (machines, table, failures))
    return [str(one) for one in contract_findings(use_case)[0]]


def test_events_as_they_should_be_have_no_finding() -> None:
    everything = {
        "stops_30d": Count(days=30),
        "minutes_9d": Sum("minutes", 9),
        "since": DaysSince(),
    }
    assert said(Table("stops", events=events(aggregations=everything))) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"entity": "machine"}, "isn't the key"),
        ({"time": "minutes"}, "isn't a column of moments"),
        ({"time": "nowhere"}, "isn't a column of moments"),
        ({"aggregations": {}}, "no aggregation"),
        ({"aggregations": {"stops": Count(days=0)}}, "a window has 1 to"),
        ({"aggregations": {"minutes_9d": Sum("minute", 9)}}, "which isn't there"),
        ({"aggregations": {"reasons_9d": Sum("reason", 9)}}, "which is no number"),
        ({"aggregations": {"stops": "count"}}, "'count'"),
        ({"contract": {"machine_id": "string"}}, "their contract is dict"),
        ({"without_offset": "Berlin"}, "without_offset='Berlin'"),
    ],
)
def test_what_is_wrong_with_events_is_found(changes: dict[str, Any], what: str) -> None:
    assert any(what in one for one in said(Table("stops", events=events(**changes))))


def test_a_contract_beside_the_events_is_found() -> None:
    stops = Table("stops", events=events())
    other = replace(stops, events=events(aggregations={"stops_9d": Count(days=9)}))
    for table in (Table("stops", events().contract, events=events()), other):
        assert any("isn't what the aggregations make" in one for one in said(table))
    assert any("isn't Events" in one for one in said(replace(stops, events="stops")))


def test_a_contract_of_a_month_has_no_moments() -> None:
    found = said(Table("stops", events().contract))
    assert any("stopped_at" in one for one in found)


def test_the_table_of_entities_has_no_events() -> None:
    _, readings, failures = tiny_case.tables()
    machines = Table("machines", events=events())
    use_case = replace(tiny_case.use_case, tables=lambda: (machines, readings, failures))
    found = [str(one) for one in contract_findings(use_case)[0]]
    assert any("a row per entity, not events" in one for one in found)
