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
        if moment is None or not view.keys:
            parts.append(f"{alias} AS ({_rows(view, moment)})")
        else:
            names = (quoted(f"{name} {number}") for name in ("rows", "keys"))
            parts += _of_moment_first(view, moment, alias, *names)
        meets = _same_keys(view, alias, '"entity rows"')
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


def _of_moment_first(
    view: ViewQuery, moment: datetime, alias: str, rows: str, keys: str
) -> list[str]:
    """The view's rows of the moment itself; those before it only of the keys that lack one.

    Nearly all entities have a row at the end of a month, and a join of the rows of one month takes
    as long however many there are before it.
    """
    at, before = (_rows(view, moment, operator) for operator in ("=", "<"))
    lacks = " AND ".join(_same_keys(view, "one", '"entity rows"'))
    earlier = " AND ".join(_same_keys(view, "one", "earlier"))
    return [
        f"{rows} AS ({at})",
        f'{keys} AS (SELECT * FROM "entity rows" '
        f"WHERE NOT EXISTS (SELECT 1 FROM {rows} AS one WHERE {lacks}))",
        f"{alias} AS (SELECT * FROM {rows} UNION ALL SELECT * FROM ({before}) AS earlier "
        f"WHERE EXISTS (SELECT 1 FROM {keys} AS one WHERE {earlier}))",
    ]


def _same_keys(view: ViewQuery, one: str, other: str) -> list[str]:
    return [f"{one}.{quoted(key)} = {other}.{quoted(key)}" for key in view.keys]


def _rows(view: ViewQuery, moment: datetime | None, operator: str = "<=") -> str:
    """The view's keys, features by number, and times; without rows that no entity row can have.

    Where the `moment` of all is known, its rows have an event time for which `operator` is true.
    """
    event, conditions = f"{quoted(view.event_timestamp)}::timestamptz", []
    created = "'-infinity'::timestamptz"
    if view.created_timestamp:
        created = f"{quoted(view.created_timestamp)}::timestamptz"
        conditions.append(f"{created} IS NOT NULL")
    if moment is not None:
        conditions.append(f"{event} {operator} {timestamp(moment)}")
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
