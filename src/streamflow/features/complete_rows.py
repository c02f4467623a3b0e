"""Which rows of a point-in-time join are trained on: those that a prediction would be given for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING

from streamflow.features.feature_views import FeatureViewDefinition
from streamflow.history.withdrawals.known_rows import known_rows
from streamflow.postgres.database import Database
from streamflow.postgres.queries import identifier, subquery
from streamflow.training.dataset_table import AS_OF, row_names
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import Table, UseCase

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class CompleteRows:
    """The rows that are trained on, and by table how many of all rows lack one there.

    Those `without_row` were left out. Those `taken_as_null` are among the rows, with nulls.
    """

    table: pa.Table
    without_row: dict[str, int]
    taken_as_null: dict[str, int]


def entities_without_row(
    database: Database,
    use_case: UseCase,
    view: FeatureViewDefinition,
    entity_rows: str,
    known_at: datetime,
) -> pa.Table:
    """The entities of the query `entity_rows` for which the view's table has no row to join: none
    at their event time or before, young enough for the view, and recorded by `known_at` (UTC).

    A table with the columns of the key and `as_of`, as text.
    """
    import pyarrow as pa

    names = {
        "key": identifier(use_case.join_key),
        "query": subquery(entity_rows),
        "history": known_rows(database, use_case, view.table.strip('"'), known_at),
    }
    rows = database.rows("entities_without_row", names, ttl=view.ttl, known_at=known_at)
    entities = [row[use_case.join_key] for row in rows]
    as_ofs = [row["event_timestamp"].astimezone(UTC).date().isoformat() for row in rows]
    text = pa.large_string()
    return pa.table({use_case.join_key: pa.array(entities, text), AS_OF: pa.array(as_ofs, text)})


def departed_entities(
    database: Database,
    use_case: UseCase,
    views: Iterable[FeatureViewDefinition],
    as_of: date,
    known_at: datetime,
    allowed: timedelta,
) -> set[str]:
    """The entities of the month that have departed from a model with these views: whose newest row
    in any of them, known at `known_at` (UTC), is older than the month by more than `allowed`."""
    history = Table.history_of(use_case.entity_table)
    names = {
        "key": identifier(use_case.join_key),
        "history": known_rows(database, use_case, history, known_at),
    }
    query = database.render("entities_at", names, as_of=as_of, known_at=known_at)
    departed: set[str] | None = None
    for view in views:
        aged = replace(view, ttl_seconds=allowed.total_seconds())
        absent = entities_without_row(database, use_case, aged, query, known_at)
        found = set(absent[use_case.join_key].to_pylist())
        departed = found if departed is None else departed & found
        if not departed:
            break
    return departed or set()


def may_lack_rows(joined: pa.Table, schema: FeatureSchema, view: str) -> bool:
    """Whether a row of `joined` has nothing but nulls in the view's features: any other value is
    one of a row there. It spares the query of `entities_without_row`, which takes as long as the
    join of the view."""
    import pyarrow.compute as pc

    nulls = [joined[one.name].is_null() for one in schema.features if one.feature_view == view]
    return bool(pc.any(reduce(pc.and_, nulls)).as_py())


def complete_rows(
    joined: pa.Table,
    schema: FeatureSchema,
    views: Mapping[str, FeatureViewDefinition],
    absent: Mapping[str, pa.Table],
) -> CompleteRows:
    """The rows of `joined` (as `dataset_table` makes it) by the rules that serving follows.

    `absent` has by feature view the entities without a row, as `entities_without_row` finds them;
    a view in which every entity has one may be left out.
    They are left out where the table's rule is "refuse". Where it is "null", their features of
    this view are null; but an entity without any row is left out, as it isn't known online. So is
    one with a null that a row of the table may not have.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = row_names(joined) if absent else None
    several = AS_OF in joined.column_names
    nobody = pa.repeat(False, joined.num_rows)
    lacks = {
        name: pc.is_in(
            rows, value_set=row_names(absent[name] if several else absent[name].drop(AS_OF))
        )
        if name in absent
        else nobody
        for name in schema.views
    }
    kept = pc.invert(reduce(pc.and_, lacks.values()))
    for feature in schema.features:
        lacking = lacks[feature.feature_view]
        if feature.absent == "refuse":
            kept = pc.and_(kept, pc.invert(lacking))
        if not feature.nullable:
            kept = pc.and_(kept, pc.or_(joined[feature.name].is_valid(), lacking))
    rules = {feature.feature_view: feature.absent for feature in schema.features}
    refused = {name: mask for name, mask in lacks.items() if rules[name] == "refuse"}
    nulls = {name: pc.and_(mask, kept) for name, mask in lacks.items() if rules[name] == "null"}
    table = joined if pc.all(kept).as_py() else joined.filter(kept)  # a filter copies all rows
    return CompleteRows(table, _rows_by_table(refused, views), _rows_by_table(nulls, views))


def _rows_by_table(
    masks: Mapping[str, pa.ChunkedArray], views: Mapping[str, FeatureViewDefinition]
) -> dict[str, int]:
    """How many rows the masks of a table's views have, without tables that have none."""
    import pyarrow.compute as pc

    by_table: dict[str, pa.ChunkedArray] = {}
    for name, mask in masks.items():
        table = views[name].source
        by_table[table] = pc.or_(by_table[table], mask) if table in by_table else mask
    counts = {table: pc.sum(mask).as_py() or 0 for table, mask in by_table.items()}
    return {table: count for table, count in counts.items() if count}
