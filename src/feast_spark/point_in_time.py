"""The query of the point-in-time join, in place of the one that Feast's own store makes.

Feast's compares rows by a text of key and time, and joins each view three times. Here rows are
compared by key and time as they are, so that composite keys don't collide, and each view is read
once: of each key its newest row, by a window that Spark cuts before it sends rows over the network.
As with Feast, rows of a view that are equal in key, event time and created time all come.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from feast_known.view_query import ViewQuery
from feast_spark.record_batches import quoted

_TIME, _PLACE = "entity time", "place"


def point_in_time_query(
    entity_rows: str,
    columns: Sequence[str],
    event_timestamp: str,
    views: Sequence[ViewQuery],
    moment: datetime | None = None,
) -> str:
    """SQL of the `columns` of `entity_rows`, each row with the views' features as of its event
    timestamp. `moment` is that of all rows, where it is known: the join is faster then."""
    parts = [f"`entity rows` AS (SELECT * FROM {entity_rows})"]
    selected = [f"`entity rows`.{quoted(name)}" for name in columns]
    joins = []
    for number, view in enumerate(views):
        alias = quoted(f"view {number}")
        parts.append(f"{alias} AS ({_newest_rows(view, event_timestamp, moment)})")
        selected += [f"{alias}.{quoted(name)}" for name in view.features]
        meets = [f"{alias}.{quoted(key)} = `entity rows`.{quoted(key)}" for key in view.keys]
        if moment is None:
            time = quoted(event_timestamp)
            meets.append(f"{alias}.{quoted(_TIME)} = `entity rows`.{time}")
        joins.append(f"LEFT JOIN {alias} ON {' AND '.join(meets) or 'true'}")
    return (
        f"WITH {', '.join(parts)} SELECT {', '.join(selected)} FROM `entity rows` {' '.join(joins)}"
    )


def timestamp(moment: datetime) -> str:
    """The moment, which has a time zone, as a literal in Spark's SQL."""
    return f"TIMESTAMP '{moment.astimezone(UTC).isoformat(sep=' ')}'"


def _newest_rows(view: ViewQuery, event_timestamp: str, moment: datetime | None) -> str:
    event = f"source.{quoted(view.event_timestamp)}"
    order = [f"{event} DESC"]
    if view.created_timestamp:
        order.append(f"source.{quoted(view.created_timestamp)} DESC")
    columns = {
        **{key: f"source.{quoted(column)}" for key, column in view.keys.items()},
        **{name: f"source.{quoted(column)}" for name, column in view.features.items()},
    }
    by = [f"source.{quoted(column)}" for column in view.keys.values()]
    if moment is not None:
        rows, until = f"{view.source} AS source", timestamp(moment)
        condition = " WHERE "
    else:
        keys = ", ".join(quoted(key) for key in view.keys)
        time = quoted(event_timestamp)
        until = f"moments.{quoted(_TIME)}"
        columns[_TIME] = until
        by.append(until)
        of_keys = "".join(
            f"moments.{quoted(key)} = source.{quoted(column)} AND "
            for key, column in view.keys.items()
        )
        rows = (
            f"(SELECT DISTINCT {keys + ', ' if keys else ''}{time} AS {quoted(_TIME)} "
            f"FROM `entity rows`) AS moments JOIN {view.source} AS source"
        )
        condition = f" ON {of_keys}"
    window = f"{'PARTITION BY ' + ', '.join(by) + ' ' if by else ''}ORDER BY {', '.join(order)}"
    selected = ", ".join(f"{column} AS {quoted(name)}" for name, column in columns.items())
    condition += f"{event} <= {until}"
    if view.ttl_seconds:
        condition += f" AND {event} >= {until} - INTERVAL '{view.ttl_seconds}' SECOND"
    wanted = ", ".join(quoted(name) for name in columns)
    return (
        f"SELECT {wanted} FROM (SELECT {selected}, rank() OVER ({window}) AS {quoted(_PLACE)} "
        f"FROM {rows}{condition}) WHERE {quoted(_PLACE)} = 1"
    )
