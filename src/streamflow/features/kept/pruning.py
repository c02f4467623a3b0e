"""What is kept of older definitions goes when no version needs it any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_postgres import online_statement
from streamflow.features.engines.feature_errors import unavailable
from streamflow.features.feature_store import ONLINE_SCHEMA, quiet
from streamflow.features.feature_types import VALUE_TYPES
from streamflow.features.kept.views import (
    feature_types,
    is_kept,
    kept_view,
    meets,
    model_view,
    online_table,
    reads,
)
from streamflow.postgres.database import Database
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import UseCase

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView


@dataclass(frozen=True)
class Pruned:
    """A kept feature view that goes from Feast's registry with its table online, or the features
    that go from it because none of its versions reads them."""

    feature_view: str
    table: str
    features: list[str]
    whole: bool


def tables_read(database: Database, use_case: UseCase, schema: FeatureSchema) -> dict[str, str]:
    """By feature view the table online that a model reads, as `view` or `view@vN`: the newest one
    that has what it reads. Raises FeatureStoreUnavailable."""
    types: dict[str, dict[str, str]] = {}
    for feature in schema.features:
        types.setdefault(feature.feature_view, {})[feature.name] = VALUE_TYPES[feature.type]
    with (
        unavailable("The online store's tables can't be read"),
        database.connection() as connection,
    ):
        return {
            view: online_statement.readable_version(
                connection, ONLINE_SCHEMA, use_case.name, schema.join_key, view, features
            )
            for view, features in types.items()
        }


def prunable(
    views: Iterable[FeatureView],
    kept: Sequence[FeatureSchema],
    tables: Sequence[Mapping[str, str]] | None,
) -> list[Pruned]:
    """What goes of the kept ones among these views of Feast's registry.

    `kept` has what the kept versions read, `tables` the tables that each of them reads; None if the
    online store has one table of each view.
    """
    found: list[Pruned] = []
    for view in views:
        if not is_kept(view):
            continue
        name, table = model_view(view), online_table(view)
        users = [
            schema
            for number, schema in enumerate(kept)
            if reads(schema, name)
            and (meets(view, schema) if tables is None else tables[number].get(name) == table)
        ]
        needed = {
            one.name for schema in users for one in schema.features if one.feature_view == name
        }
        unused = [one for one in feature_types(view) if one not in needed]
        if unused:
            found.append(Pruned(view.name, table, unused, whole=not users))
    return found


def prune(store: FeatureStore, pruned: Iterable[Pruned]) -> None:
    """Remove it from Feast's registry and from the online store. Raises FeatureStoreUnavailable."""
    with unavailable("What is kept can't be removed"), quiet():
        for one in pruned:
            view = store.get_feature_view(one.feature_view)
            if one.whole:
                store.apply([], objects_to_delete=[view, view.batch_source], partial=False)
                continue
            rows = view.batch_source.get_table_query_string()[1:-1]
            view.features = [field for field in view.features if field.name not in one.features]
            store.apply([kept_view(view, store.list_entities(), view.name, [], rows)])
