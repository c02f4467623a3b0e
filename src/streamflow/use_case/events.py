"""Features that are aggregated from events: which events there are, and what is made of them.

A window of 30 days is the as_of and the 29 days before it: whole days in UTC, and it begins with
the first moment of its first day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema


@dataclass(frozen=True)
class Count:
    """How many events there are in the window; 0 if there is none."""

    days: int


@dataclass(frozen=True)
class Sum:
    """The sum of a number column in the window; 0 if there is no number."""

    column: str
    days: int


@dataclass(frozen=True)
class Mean:
    """The mean of a number column in the window; null if there is no number."""

    column: str
    days: int


@dataclass(frozen=True)
class Distinct:
    """How many different values of a column there are in the window; nulls aren't counted."""

    column: str
    days: int


@dataclass(frozen=True)
class DaysSince:
    """Days from the newest event's day to the as_of, both in UTC; null if there is no event."""


Aggregation = Count | Sum | Mean | Distinct | DaysSince


@dataclass(frozen=True)
class Events:
    """The events of a table's files, and by feature how it is aggregated from them.

    `contract` is a pandera `DataFrameSchema` of the file's columns, with the types of a `Table` and
    `datetime64[us, UTC]` for moments. `entity` is the use case's key, `time` the column with the
    moment of the event. Moments without an offset from UTC are refused, or are in UTC with
    `without_offset="UTC"`.
    Each entity of a month's entity table has a row of the features, with or without an event. An
    aggregation that is changed needs another name, as old runs know it by this one.
    """

    contract: DataFrameSchema
    entity: str
    time: str
    aggregations: Mapping[str, Aggregation]
    without_offset: Literal["refuse", "UTC"] = "refuse"


def derived_contract(events: Events) -> DataFrameSchema:
    """The contract of the aggregations: the entity, and a column each."""
    from pandera.pandas import Column, DataFrameSchema

    columns = {events.entity: Column("string")}
    for name, aggregation in events.aggregations.items():
        whole = isinstance(aggregation, Count | Distinct | DaysSince)
        null = isinstance(aggregation, Mean | DaysSince)
        columns[name] = Column("Int64" if whole else "Float64", nullable=null)
    return DataFrameSchema(columns)


def longest_window(events: Events) -> int | None:
    """The days of the longest window; None if one of them has no beginning."""
    days = [
        None if isinstance(one, DaysSince) else one.days for one in events.aggregations.values()
    ]
    return None if None in days else max(one for one in days if one is not None)
