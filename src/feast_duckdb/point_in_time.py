"""The query of the point-in-time join."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from feast_known.names import quoted
from feast_known.view_query import ViewQuery


def point_in_time_query(
    entity_rows: str,
    columns: Sequence[str],
    event_timestamp: str,
    views: Sequence[ViewQuery],
    moment: datetime | None = None,
) -> str:
    """SQL of the `columns` of `entity_rows`, each row with the views' features as of its event
    timestamp: of each view its row before that is the newest, by event time and created time.

    `moment` is that of all rows, where it is known: rows after it aren't read then.
    """
    parts = [f'"entity rows" AS (SELECT * FROM {entity_rows})']
    selected = [f'"entity rows".{quoted(name)}' for name in columns]
    joins = []
    time = f'"entity rows".{quoted(event_timestamp)}::timestamptz'
    for number, view in enumerate(views):
        alias = quoted(f"view {number}")
        parts.append(f"{alias} AS ({_rows(view, moment)})")
        meets = [f'{alias}.{quoted(key)} = "entity rows".{quoted(key)}' for key in view.keys]
        # One pair of times: rows of one event time are told apart by their created time.
        meets.append(f"ROW({time}, 'infinity'::timestamptz) >= {alias}.times")
        joins.append(f"ASOF LEFT JOIN {alias} ON {' AND '.join(meets)}")
        for place, name in enumerate(view.features):
            value = f"{alias}.f{place}"
            if moment is None and view.ttl_seconds:
                oldest = f"{time} - {_seconds(view.ttl_seconds)}"
                value = f"CASE WHEN {alias}.event_timestamp >= {oldest} THEN {value} END"
            selected.append(f"{value} AS {quoted(name)}")
    return (
        f'WITH {", ".join(parts)} SELECT {", ".join(selected)} FROM "entity rows" {" ".join(joins)}'
    )


def timestamp(moment: datetime) -> str:
    """The moment, which has a time zone, as a literal in DuckDB's SQL."""
    return f"'{moment.astimezone(UTC).isoformat(sep=' ')}'::timestamptz"


def _rows(view: ViewQuery, moment: datetime | None) -> str:
    """The view's keys, features by number, and times; without rows that no entity row can have."""
    event, conditions = f"{quoted(view.event_timestamp)}::timestamptz", []
    created = "'-infinity'::timestamptz"
    if view.created_timestamp:
        created = f"{quoted(view.created_timestamp)}::timestamptz"
        conditions.append(f"{created} IS NOT NULL")
    if moment is not None:
        conditions.append(f"{event} <= {timestamp(moment)}")
        if view.ttl_seconds:
            conditions.append(f"{event} >= {timestamp(moment)} - {_seconds(view.ttl_seconds)}")
    selected = [
        *(f"{quoted(column)} AS {quoted(key)}" for key, column in view.keys.items()),
        *(f"{quoted(column)} AS f{place}" for place, column in enumerate(view.features.values())),
        f"{event} AS event_timestamp",
        f"ROW({event}, {created}) AS times",
    ]
    return (
        f"SELECT {', '.join(selected)} FROM {view.source} AS source "
        f"WHERE {' AND '.join(conditions) or 'true'}"
    )


def _seconds(seconds: int) -> str:
    return f"'{seconds} seconds'::interval"
