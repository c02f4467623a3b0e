"""The query of the point-in-time join."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from feast_duckdb.key_ranges import KeyRange
from feast_known.names import quoted
from feast_known.view_query import ViewQuery

_ENTITY_ROWS = quoted("entity rows")


def point_in_time_query(
    entity_rows: str,
    columns: Sequence[str],
    event_timestamp: str,
    views: Sequence[ViewQuery],
    moment: datetime | None = None,
    unique_rows: bool = False,
    within: KeyRange | None = None,
) -> str:
    """SQL of the `columns` of `entity_rows`, each row with the views' features as of its event
    timestamp: of each view its row before that is the newest, by event time and created time.

    `moment` is that of all rows, where it is known: rows after it aren't read then. With
    `unique_rows`, no two rows of a view are equal in its keys, event time and created time. Only
    entity rows `within` a range of keys, which all views have, are joined.
    """
    if within is not None:
        in_range = within.condition(within.key)
        entity_rows = f"(SELECT * FROM {entity_rows} AS given WHERE {in_range})"
        views = [_within(view, within) for view in views]
    if moment is None:
        return _of_many_moments(entity_rows, columns, event_timestamp, views)
    return _of_one_moment(entity_rows, columns, views, moment, unique_rows)


def timestamp(moment: datetime) -> str:
    """The moment, which has a time zone, as a literal in DuckDB's SQL."""
    return f"'{moment.astimezone(UTC).isoformat(sep=' ')}'::timestamptz"


def rows_of_moment(view: ViewQuery, moment: datetime) -> str:
    """SQL of the keys and features of the view's rows that have this event time."""
    return _rows(view, moment, "=")


def newest_rows_query(view: ViewQuery, moment: datetime, unique_rows: bool = False) -> str:
    """SQL of the view's newest row of each key, with its keys and features; `moment` is the event
    time of its last rows.

    Nearly all keys have a row then, so that rows before it are put in order for few.
    """
    parts = [*_newest_of_moment(view, 0, moment, unique_rows)]
    names = [
        *_keys(view),
        *(f"f{place} AS {quoted(name)}" for place, name in enumerate(view.features)),
    ]
    selected = ", ".join(names)
    last = _equal_or_null(view, "last", "earlier")
    return (
        f"WITH {', '.join(parts)} SELECT {selected} FROM {_named('newest', 0)} UNION ALL "
        f"(SELECT {selected} FROM ({_rows(view, moment, '<')}) AS earlier "
        f"WHERE NOT EXISTS (SELECT 1 FROM {_named('rows', 0)} AS last WHERE {last}) "
        f"{_newest_of_each(view)})"
    )


def _of_many_moments(
    entity_rows: str, columns: Sequence[str], event_timestamp: str, views: Sequence[ViewQuery]
) -> str:
    parts = [f"{_ENTITY_ROWS} AS (SELECT * FROM {entity_rows})"]
    selected = [f"{_ENTITY_ROWS}.{quoted(name)}" for name in columns]
    joins = []
    time = f"{_ENTITY_ROWS}.{quoted(event_timestamp)}::timestamptz"
    for number, view in enumerate(views):
        alias = _named("view", number)
        parts.append(f"{alias} AS ({_rows(view)})")
        meets = _same_keys(view, alias, _ENTITY_ROWS)
        # One pair of times: rows of one event time are told apart by their created time.
        meets.append(f"ROW({time}, 'infinity'::timestamptz) >= {alias}.times")
        joins.append(f"ASOF LEFT JOIN {alias} ON {' AND '.join(meets)}")
        for place, name in enumerate(view.features):
            value = f"{alias}.f{place}"
            if view.ttl_seconds:
                oldest = f"{time} - {_seconds(view.ttl_seconds)}"
                value = f"CASE WHEN {alias}.event_timestamp >= {oldest} THEN {value} END"
            selected.append(f"{value} AS {quoted(name)}")
    query = f"SELECT {', '.join(selected)} FROM {_ENTITY_ROWS} {' '.join(joins)}"
    return f"WITH {', '.join(parts)} {query}"


def _of_one_moment(
    entity_rows: str,
    columns: Sequence[str],
    views: Sequence[ViewQuery],
    moment: datetime,
    unique_rows: bool,
) -> str:
    """The rows of the moment itself are joined by their keys, without the sort of an ASOF join:
    nearly all entities have one there. Rows before it are read for the keys that lack one."""
    parts = [f"{_ENTITY_ROWS} AS (SELECT * FROM {entity_rows})"]
    names = {name: f"c{place}" for place, name in enumerate(columns)}
    # By number: no name that is given can be that of a feature, or one of ours.
    kept = [f"{_ENTITY_ROWS}.{quoted(name)} AS {ours}" for name, ours in names.items()]
    selected = [f"joined.{ours} AS {quoted(name)}" for name, ours in names.items()]
    of_moment, before, earlier = [], [], []
    for number, view in enumerate(views):
        newest, older = _named("newest", number), _named("before", number)
        parts += _newest_of_moment(view, number, moment, unique_rows)
        meets = " AND ".join(_same_keys(view, newest, _ENTITY_ROWS)) or "true"
        of_moment.append(f"LEFT JOIN {newest} ON {meets}")
        kept.append(f"{newest}.there AS there{number}")
        kept += [f"{newest}.f{place} AS v{number}f{place}" for place in range(len(view.features))]
        lacks = [f"{older}.{quoted(key)} = joined.{names[key]}" for key in view.keys]
        earlier.append(f"{older} AS ({_newest_before(view, number, moment, names)})")
        before.append(f"LEFT JOIN {older} ON {' AND '.join(lacks) or 'true'}")
        selected += [
            f"CASE WHEN joined.there{number} THEN joined.v{number}f{place} "
            f"ELSE {older}.f{place} END AS {quoted(name)}"
            for place, name in enumerate(view.features)
        ]
    joined = f"SELECT {', '.join(kept)} FROM {_ENTITY_ROWS} {' '.join(of_moment)}"
    parts += [f"joined AS MATERIALIZED ({joined})", *earlier]
    return f"WITH {', '.join(parts)} SELECT {', '.join(selected)} FROM joined {' '.join(before)}"


def _newest_of_moment(
    view: ViewQuery, number: int, moment: datetime, unique_rows: bool
) -> Iterator[str]:
    """The view's rows of the moment itself, one of each key."""
    rows, repeated = _named("rows", number), _named("repeated", number)
    keys = ", ".join(_keys(view)) or "true"
    # To read twice takes less than to keep the rows: the keys alone are read first.
    yield f"{rows} AS NOT MATERIALIZED ({_rows(view, moment, '=')})"
    # Of one created time, no key has two of them.
    may_be = f"(SELECT min(times) < max(times) FROM {rows})" if unique_rows else "true"
    yield (
        f"{repeated} AS MATERIALIZED "
        f"(SELECT {keys} FROM {rows} WHERE {may_be} GROUP BY {keys} HAVING count(*) > 1)"
    )
    again = _equal_or_null(view, repeated, "one")
    of_repeated = f"EXISTS (SELECT 1 FROM {repeated} WHERE {again})"
    yield (
        f"{_named('newest', number)} AS NOT MATERIALIZED (SELECT *, true AS there FROM "
        f"(SELECT * FROM {rows} AS one WHERE NOT {of_repeated} UNION ALL "
        f"(SELECT * FROM {rows} AS one WHERE {of_repeated} {_newest_of_each(view)})) AS newest)"
    )


def _newest_before(view: ViewQuery, number: int, moment: datetime, names: dict[str, str]) -> str:
    """The view's newest rows before the moment, of the keys that have none at it."""
    lacks = " AND ".join(
        [
            f"joined.there{number} IS NULL",
            *(f"joined.{names[key]} = earlier.{quoted(key)}" for key in view.keys),
        ]
    )
    return (
        f"SELECT * FROM ({_rows(view, moment, '<')}) AS earlier "
        f"WHERE EXISTS (SELECT 1 FROM joined WHERE {lacks}) {_newest_of_each(view)}"
    )


def _newest_of_each(view: ViewQuery) -> str:
    """The end of a query that keeps, of the rows with the same keys, the one with the last times:
    no row comes after it.

    By the number of the row, DuckDB would plan `arg_max`, which makes 0.0 of -0.0.
    """
    partition = f"PARTITION BY {', '.join(_keys(view))} " if view.keys else ""
    return f"QUALIFY lead(true) OVER ({partition}ORDER BY times) IS NULL"


def _keys(view: ViewQuery) -> list[str]:
    return [*map(quoted, view.keys)]


def _within(view: ViewQuery, keys: KeyRange) -> ViewQuery:
    condition = keys.condition(view.keys[keys.key])
    return replace(view, source=f"(SELECT * FROM {view.source} AS given WHERE {condition})")


def _named(what: str, number: int) -> str:
    return quoted(f"{what} {number}")


def _same_keys(view: ViewQuery, one: str, other: str) -> list[str]:
    return [f"{one}.{quoted(key)} = {other}.{quoted(key)}" for key in view.keys]


def _equal_or_null(view: ViewQuery, one: str, other: str) -> str:
    """That the keys are equal, where null is equal to null."""
    same = [f"{one}.{key} IS NOT DISTINCT FROM {other}.{key}" for key in _keys(view)]
    return " AND ".join(same) or "true"


def _rows(view: ViewQuery, moment: datetime | None = None, operator: str = "<=") -> str:
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
