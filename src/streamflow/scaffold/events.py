"""Tables with a row for each event: when it was, and which features are made of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from streamflow.history.files.written_time import TIME, TIME_OR_UTC
from streamflow.history.values import checked
from streamflow.scaffold.contract_code import text_code
from streamflow.scaffold.draft import EventsProposal, Feature, TableProposal
from streamflow.scaffold.profile import Column, Profile
from streamflow.scaffold.words import IS_KEY
from streamflow.scaffold.written import date_orders, distinct, fits
from streamflow.use_case import Csv
from streamflow.use_case.events import Aggregation, Count, DaysSince, Distinct, Mean, Sum

if TYPE_CHECKING:
    import pyarrow as pa

# Of the last word of a column with the moment of an event.
_IS_TIME = re.compile(
    r"(^|_)(time|timestamp|ts|date|datetime|datum|zeit|zeitpunkt|at|on|when|day|fecha|moment)$"
)
_MOST_NUMBERS, _MOST_TEXTS = 3, 2
_SHORT, _LONG = 30, 90
# PostgreSQL's names have 63 bytes.
_LONGEST_NAME = 60


def of_events(
    table: Profile, names: dict[str, str], key: str, taken: set[str], until: date
) -> TableProposal | str:
    """The table with what is made of its events, or why it can't be taken for one of events.

    `names` are its columns' by those in the file, `key` is the entity's; `taken` are names that
    other features have. No event is later than `until`.
    """
    if table.raw.broken:
        return f"{len(table.raw.broken):,} of its rows can't be read"
    ways = {
        column.name: way
        for column in table.columns
        if names[column.name] != key and (way := _moments(table, column)) is not None
    }
    times = [one for one in ways if not table.column(one).nulls]
    if not times:
        others = [one for one in table.columns if names[one.name] != key and not one.nulls]
        unclear = filter(None, (_unclear(table, one) for one in others))
        return next(unclear, "no column says in each row when it was")
    time = min(times, key=lambda one: (not _IS_TIME.search(names[one]), list(ways).index(one)))
    utc = any(kind == TIME_OR_UTC for kind, _ in ways.values())
    raw = replace(
        table.raw,
        read_columns={**table.raw.read_columns, **{name: way for name, (_, way) in ways.items()}},
    )
    raw = replace(
        raw, read_columns={name: one for name, one in raw.read_columns.items() if one != raw.read}
    )
    newest = _newest(raw.rows[time], *ways[time])
    if newest > until:
        return f"it has events of {newest}, which is after {until}"
    aggregations = dict(_aggregations(table, names, key, set(ways), taken))
    events = EventsProposal(time, tuple(ways), utc, aggregations, newest)
    return TableProposal(replace(table, raw=raw), names, None, True, events)


def features_of(table: TableProposal) -> Iterator[Feature]:
    """The features that are made of the table's events."""
    assert table.events is not None
    for name, one in table.events.aggregations.items():
        kind = "Float64" if isinstance(one, Sum | Mean) else "Int64"
        yield Feature(table.name, name, kind, isinstance(one, Mean | DaysSince))


def _unclear(table: Profile, column: Column) -> str | None:
    """What to say of a column whose values are moments or days in several orders of their parts;
    None if they aren't."""
    orders = _fitting_orders(table, column)
    if len(orders) < 2:
        return None
    rows = table.raw.rows
    line, value = rows["line"][0].as_py(), rows[column.name][0].as_py()
    ways = [f"--date {one}, which writes read=Csv(date={text_code(one)})" for one in orders]
    return (
        f"{table.raw.path.name}, line {line}, column {column.name!r}: {value!r} may be written as "
        f"{' or '.join(orders)}; say it in another `init`, with another --name or without the "
        f"package of this one: {', or '.join(ways)}"
    )


def _moments(table: Profile, column: Column) -> tuple[str, Csv] | None:
    """How the column is read if all its values are moments or days: whether it says the offset from
    UTC, and the order of a day's parts. None if they aren't, or it can't be told."""
    if any(one.column == column.name for one in table.unclear):
        return None
    if column.kind == "date":
        return TIME_OR_UTC, table.raw.read_of(column.name)
    found = _ways(table, column)
    return found[0] if len({way.date for _, way in found}) == 1 else None


def _fitting_orders(table: Profile, column: Column) -> list[str]:
    """The orders of a day's parts in which all values of the column are moments or days."""
    return list(dict.fromkeys(way.date for _, way in _ways(table, column)))


def _ways(table: Profile, column: Column) -> list[tuple[str, Csv]]:
    """How the column may be read as one of moments or days."""
    import pyarrow as pa

    values = distinct(table.raw.rows[column.name])
    if not (pa.types.is_temporal(values.type) or pa.types.is_string(values.type)):
        return []
    read = table.raw.read_of(column.name)
    return [
        (kind, way)
        for kind in (TIME, TIME_OR_UTC)
        for way in _orders(values, read)
        if fits(values, kind, way)
    ]


def _orders(values: pa.Array, read: Csv) -> Sequence[Csv]:
    """By the order of a day's parts; of timestamps there is but one way."""
    import pyarrow as pa

    if not pa.types.is_string(values.type):
        return [read]
    first = next((one for one in values.to_pylist() if one and one not in read.null), "")
    # A day in its usual order is read by any.
    if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", first):
        return [read]
    return [replace(read, date=one) for one in date_orders(read)]


def _newest(rows: pa.ChunkedArray, kind: str, read: Csv) -> date:
    import pyarrow.compute as pc

    values, _ = checked(rows.combine_chunks(), kind, read)
    newest: date = pc.max(values).as_py().date()
    return newest


def _aggregations(
    table: Profile, names: Mapping[str, str], key: str, times: set[str], taken: set[str]
) -> Iterator[tuple[str, Aggregation]]:
    about = table.raw.name
    found: list[tuple[str, Aggregation]] = [(f"{about}_{_SHORT}d", Count(days=_SHORT))]
    others = [
        one
        for one in table.columns
        if one.name not in times
        and names[one.name] != key
        and one.distinct > 1
        and not IS_KEY.search(names[one.name])
    ]
    numbers = [names[one.name] for one in others if one.kind in ("Int64", "Float64")]
    texts = [names[one.name] for one in others if one.categories]
    found += [(f"{about}_{one}_{_LONG}d", Sum(one, _LONG)) for one in numbers[:_MOST_NUMBERS]]
    found += [
        (f"{about}_different_{one}_{_LONG}d", Distinct(one, _LONG)) for one in texts[:_MOST_TEXTS]
    ]
    found.append((f"days_since_{about}", DaysSince()))
    for name, aggregation in found:
        name = name[-_LONGEST_NAME:].lstrip("_0123456789")
        while name in taken or name == key:
            name += "_"
        taken.add(name)
        yield name, aggregation
