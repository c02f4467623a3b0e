"""What is wrong with the events of a table: their contract, their columns, their aggregations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from streamflow.history.validation import EVENT_TYPES
from streamflow.use_case import Count, DaysSince, Distinct, Events, Mean, Sum, Table
from streamflow.use_case.events import derived_contract
from streamflow.use_case.findings import Finding
from streamflow.use_case.module import nearest

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

_NUMBERS = ("Int64", "Float64")
_TIME = "datetime64"
# A hundred years; a window of an as_of in 1900 has to begin after the year 1.
MOST_DAYS = 36_525
# Columns of the table of events; `line` is one of its staging table.
_OWN = ("recorded_at", "ingestion_id", "line", "occurrence")


def event_findings(table: Table, key: str) -> Iterator[Finding]:
    """What is wrong with the table's events, where `key` is the use case's; nothing without any."""
    events = table.events
    if events is None:
        return
    where = f"events of table {table.name!r}"
    if (unreadable := _unreadable(where, events)) is not None:
        yield unreadable
        return
    if _types(table.contract) != _types(derived_contract(events)):
        said = "its contract isn't what the aggregations make"
        yield Finding(f"table {table.name!r}", said, f'Table("{table.name}", events=Events(…))')
    types = {name: str(one.dtype).split("[")[0] for name, one in events.contract.columns.items()}
    if events.entity != key:
        yield Finding(where, f"entity={events.entity!r} isn't the key", f'entity="{key}"')
    if types.get(key) != "string":
        yield Finding(where, f"no column {key!r} has text", f'"{key}": Column("string")')
    if types.get(events.time) != _TIME or events.contract.columns[events.time].nullable:
        yield Finding(
            where,
            f"time={events.time!r} isn't a column of moments without nulls",
            f'"{events.time}": Column("datetime64[us, UTC]")',
        )
    for name, column in events.contract.columns.items():
        written = str(column.dtype)
        wrong_time = types[name] == _TIME and written != "datetime64[us, UTC]"
        if types[name] not in EVENT_TYPES or wrong_time:
            instead = nearest(types[name], ("string", "Int64", "Float64", "boolean", "date"))
            line = "datetime64[us, UTC]" if types[name] == _TIME else instead
            yield Finding(
                where, f"{name!r} has the type {written!r}", f'"{name}": Column("{line}")'
            )
        if name in _OWN:
            yield Finding(where, f"{name!r} is a column of every table of events", f'"{name}_2": …')
    if events.without_offset not in ("refuse", "UTC"):
        yield Finding(where, f"without_offset={events.without_offset!r}", 'without_offset="UTC"')
    if not events.aggregations:
        yield Finding(where, "it has no aggregation", 'aggregations={"events_30d": Count(days=30)}')
    yield from _aggregation_findings(where, events, types)


def _unreadable(where: str, events: object) -> Finding | None:
    from pandera.pandas import DataFrameSchema

    if not isinstance(events, Events):
        return Finding(
            where, f"{events!r:.60} isn't Events", "events=Events(DataFrameSchema({…}), …)"
        )
    if not isinstance(events.contract, DataFrameSchema):
        said = f"their contract is {type(events.contract).__name__}, not a DataFrameSchema"
        return Finding(where, said, "Events(DataFrameSchema({…}), …)")
    return None


def _types(contract: DataFrameSchema) -> dict[str, str]:
    return {name: str(column.dtype) for name, column in contract.columns.items()}


def _aggregation_findings(
    where: str, events: Events, types: Mapping[str, str]
) -> Iterator[Finding]:
    for name, one in events.aggregations.items():
        if not isinstance(one, Count | Sum | Mean | Distinct | DaysSince):
            yield Finding(where, f"{name!r} is {one!r:.40}", f'"{name}": Count(days=30)')
            continue
        if isinstance(one, DaysSince):
            continue
        if type(one.days) is not int or not 1 <= one.days <= MOST_DAYS:
            rule = f"a window has 1 to {MOST_DAYS} days"
            yield Finding(where, f"{name!r} has days={one.days!r}; {rule}", "days=30")
        if isinstance(one, Count):
            continue
        if one.column not in types:
            column = nearest(one.column, tuple(types))
            yield Finding(
                where, f"{name!r} is of a column {one.column!r}, which isn't there", column
            )
        elif isinstance(one, Sum | Mean) and types[one.column] not in _NUMBERS:
            said = f"{name!r} is of {one.column!r}, which is no number"
            yield Finding(where, said, f'"{one.column}": Column("Float64")')
