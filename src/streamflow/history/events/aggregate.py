"""The features of a month from the events in its windows, and the new rows of its history."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from streamflow.hashes import Sha256
from streamflow.history.append import IngestedTable, Ingestion, append
from streamflow.history.as_of import event_timestamp
from streamflow.history.events.events_table import (
    database_of_events,
    event_columns,
    events_name,
    events_of,
)
from streamflow.history.events.recorded_aggregations import aggregations_as_text
from streamflow.history.events.stage_events import AddedEvents
from streamflow.history.history_table import content_columns, content_definitions
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.ingestions import recorded_ingestions
from streamflow.history.recorded_columns import RecordedColumns
from streamflow.history.staging import staging_table
from streamflow.history.validation import POSTGRES_TYPES, column_types
from streamflow.history.withdrawals.known_rows import FOR_EVER, known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, columns, identifier, literal, subquery
from streamflow.use_case import Count, DaysSince, Distinct, Events, Mean, Sum, Table, UseCase
from streamflow.use_case.events import Aggregation, longest_window

_QUERIES: dict[type[Aggregation], str] = {
    Count: "aggregate_count",
    Sum: "aggregate_sum",
    Mean: "aggregate_mean",
    Distinct: "aggregate_distinct",
    DaysSince: "aggregate_days_since",
}
# Before every event that a contract allows.
_EVER = datetime.min.replace(tzinfo=UTC)


def append_aggregated(
    database: Database,
    ingestion: Ingestion,
    table: Table,
    file: Path,
    sha256: Sha256,
    recorded: RecordedColumns,
    events: AddedEvents,
) -> IngestedTable:
    """Append what the events change: the rows of the ingestion's month, and corrected rows of each
    other month that had a file of the table and has the added events in a window. If an aggregation
    is new, or something was withdrawn, of all months that had one.

    A month without a file has no rows: of what didn't come nobody knows that it didn't happen.
    The rows of the entity table at the ingestion's as_of are in history. Events recorded later than
    the ingestion aren't in its rows. Raises RecordedAtRefused as `append` does.
    """
    use_case = ingestion.use_case
    entities = known_rows(database, use_case, Table.history_of(use_case.entity_table), FOR_EVER)
    known = {
        one.as_of
        for one in recorded_ingestions(database, use_case)
        if table.name in one.tables and one.withdrawn_at is None
    }
    before = recorded.newest(table.history) or []
    every_month = bool({*table.contract.columns} - {*before}) or _withdrawn(
        database, use_case, table
    )
    touched = {one for one in known if every_month or _touches(events_of(table), one, events)}
    own, corrected = None, dict[str, int]()
    for as_of in sorted({*touched, ingestion.as_of}):
        _stage(database, ingestion, table, as_of, entities)
        complete = ingestion.complete and as_of == ingestion.as_of
        month = replace(ingestion, as_of=as_of, complete=complete)
        appended = append(database, month, table, file, sha256, recorded)
        names = {kind: identifier(f"{kind}_{table.name}") for kind in ("latest", "gone")}
        database.execute("drop_staged", {**names, "staging": staging_table(table.name)})
        if as_of == ingestion.as_of:
            own = appended
        elif appended.added:
            corrected[str(as_of)] = appended.added
    if own is None:
        raise AssertionError("the ingestion's own month is aggregated")
    return replace(
        own,
        changes=[
            _counted(events.added, "event is new", "events are new"),
            *(
                _counted(rows, f"row of {as_of} is corrected", f"rows of {as_of} are corrected")
                for as_of, rows in corrected.items()
            ),
        ],
        corrected=corrected,
        aggregations=aggregations_as_text(events_of(table)),
    )


def _counted(count: int, singular: str, plural: str) -> str:
    return f"{count:,} {singular if count == 1 else plural}"


def _withdrawn(database: Database, use_case: UseCase, table: Table) -> bool:
    """Whether something was withdrawn since the months were aggregated."""
    found: bool = database.row("withdrawn_since", use_case=use_case.name, table=table.name)[
        "exists"
    ]
    return found


def _touches(events: Events, as_of: date, added: AddedEvents) -> bool:
    """Whether an event between the oldest and the newest is in the month's longest window."""
    if added.oldest is None or added.newest is None:
        return False
    start = _start(as_of, longest_window(events))
    return added.oldest <= event_timestamp(as_of) and added.newest >= start


def _start(as_of: date, days: int | None) -> datetime:
    """The first moment (UTC) of a window of so many days, whose last is the as_of."""
    if days is None:
        return _EVER
    return datetime.combine(as_of - timedelta(days=days - 1), time.min, tzinfo=UTC)


def _stage(
    database: Database, ingestion: Ingestion, table: Table, as_of: date, entities: Composable
) -> None:
    """The month's features of all its entities in the table's staging table."""
    use_case, events = ingestion.use_case, events_of(table)
    with_events = database_of_events(database)
    aggregates, values = _aggregates(with_events, use_case, table, as_of)
    key = identifier(use_case.join_key)
    aggregated = with_events.render(
        "aggregated",
        {
            "key": key,
            "aggregates": aggregates,
            "time": identifier(events.time),
            "known_events": known_rows(with_events, use_case, events_name(table), FOR_EVER),
        },
        start=_start(as_of, longest_window(events)),
        until=event_timestamp(as_of),
        recorded_at=ingestion.recorded_at,
    )
    names = {
        "staging": staging_table(table.name),
        "key": key,
        "values": values,
        "names": columns(content_columns(use_case, table)),
        "entities": entities,
    }
    definitions = content_definitions(use_case, table)
    database.execute("create_staging", {**names, "definitions": definitions})
    if isinstance(database, IcebergSession):
        from streamflow.history.iceberg.staged_features import stage_features

        types = {name: POSTGRES_TYPES[kind] for name, kind in column_types(table).items()}
        stage_features(database, aggregated, {**types, use_case.join_key: "text"}, names, as_of)
    else:
        in_query = {**names, "aggregated": subquery(f"({aggregated})")}
        database.execute("aggregate", in_query, as_of=as_of)
    database.execute("analyze_staging", names)


def _aggregates(
    database: Database, use_case: UseCase, table: Table, as_of: date
) -> tuple[Composable, Composable]:
    """The SQL of the features, and of their values if there was no event."""
    events, parts, values = events_of(table), list[str](), list[str]()
    order = _order(database, table)
    for name in content_columns(use_case, table):
        aggregation = events.aggregations[name]
        column = identifier(getattr(aggregation, "column", events.time))
        days = getattr(aggregation, "days", None)
        is_float = (
            event_columns(table).get(getattr(aggregation, "column", "")) == "double precision"
        )
        named: dict[str, Composable] = {
            "time": identifier(events.time),
            "column": column,
            "start": literal(_start(as_of, days)),
            "as_of": literal(as_of),
            # A sum of numbers with fractions has other last digits in another order.
            "order": order if is_float else subquery(""),
        }
        feature = {"feature": identifier(name)}
        sql = database.render(_QUERIES[type(aggregation)], named)
        parts.append(database.render("named_aggregate", {**feature, "aggregate": subquery(sql)}))
        none = "value_or_null" if isinstance(aggregation, Mean | DaysSince) else "value_or_zero"
        values.append(database.render(none, feature))
    return subquery(", ".join(parts)), subquery(", ".join(values))


def _order(database: Database, table: Table) -> Composable:
    """One order for all sums, so that the events are sorted once."""
    numbers = [name for name, kind in event_columns(table).items() if kind == "double precision"]
    listed = columns([events_of(table).time, *numbers])
    return subquery(database.render("in_order", {"columns": listed}))
