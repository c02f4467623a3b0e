"""Feature views of older definitions, which stay in Feast's registry for models that read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from feast_postgres.versions import TABLE_TAG
from streamflow.features.feature_types import FEATURE_TYPES
from streamflow.postgres.queries import Composable, identifier, subquery
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import Table, UseCase

if TYPE_CHECKING:
    from feast import Entity, FeatureView

# Tags of a kept view: the name under which models ask for it, the table of the use case that it is
# made from, and the features of it that they need.
KEPT_TAG, TABLE_OF_TAG = "streamflow.kept", "streamflow.table"
NEEDED_TAG = "streamflow.needed"


def model_view(view: FeatureView) -> str:
    """The feature view's name in models: a kept one has a name of its own in Feast's registry."""
    return str(view.tags.get(KEPT_TAG, view.name))


def is_kept(view: FeatureView) -> bool:
    """Whether the view is there for models of before, and isn't the use case's any more."""
    return KEPT_TAG in view.tags


def source_table(view: FeatureView) -> str:
    """The table of the use case that the view is made from."""
    return str(view.tags.get(TABLE_OF_TAG, view.batch_source.name))


def online_table(view: FeatureView) -> str:
    """The view's table online, as `view` or `view@vN`."""
    return str(view.tags.get(TABLE_TAG, view.name))


def version(view: FeatureView) -> int:
    """Which one of the tables of this name the view has: 0 is the first one."""
    return int(online_table(view).partition("@v")[2] or 0)


def kept_name(table: str) -> str:
    """The name in Feast's registry of the kept view that has this table online."""
    name, _, number = table.partition("@v")
    return f"{name}__v{int(number or 0)}"


def feature_types(view: FeatureView) -> dict[str, str]:
    """A model's type by feature; Feast's type where no model has it."""
    kinds = {field.name: str(field.dtype) for field in view.features}
    return {name: FEATURE_TYPES.get(kind, kind) for name, kind in kinds.items()}


def meets(view: FeatureView, schema: FeatureSchema) -> bool:
    """Whether the view has all that the model reads of the view of its name, in its types."""
    types = feature_types(view)
    return all(
        types.get(feature.name) == feature.type
        for feature in schema.features
        if feature.feature_view == model_view(view)
    )


def lacking(schema: FeatureSchema, views: Sequence[FeatureView]) -> list[str]:
    """What the model reads and can't read from one of the views, as `view:feature as TYPE`."""
    found: list[str] = []
    for name in schema.views:
        named = [view for view in views if model_view(view) == name]
        if any(meets(view, schema) for view in named):
            continue
        newest = max(named, key=version, default=None)
        types = feature_types(newest) if newest is not None else {}
        found += [
            f"{name}:{one.name} as {one.type}"
            for one in schema.features
            if one.feature_view == name and types.get(one.name) != one.type
        ]
    return found


def reads(schema: FeatureSchema, name: str) -> bool:
    """Whether the model reads the feature view of this name."""
    return any(feature.feature_view == name for feature in schema.features)


def needed_features(view: FeatureView) -> list[str]:
    """The features of a kept view without which its versions can't be served."""
    return [str(name) for name in json.loads(view.tags.get(NEEDED_TAG, "[]"))]


def kept_view(
    view: FeatureView,
    entities: Iterable[Entity],
    name: str,
    schemas: Sequence[FeatureSchema],
    rows: str | None = None,
) -> FeatureView:
    """The view under another name for models of before, with the table online that it has.

    `rows` is the query of its source; without it, all rows of its table's history.
    """
    from feast import FeatureView, Field
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
        PostgreSQLSource,
    )

    models_name, table = model_view(view), source_table(view)
    needed = {
        feature.name
        for schema in schemas
        for feature in schema.features
        if feature.feature_view == models_name
    }
    tags = {
        KEPT_TAG: models_name,
        TABLE_OF_TAG: table,
        TABLE_TAG: online_table(view),
        NEEDED_TAG: json.dumps(sorted(needed) or needed_features(view)),
    }
    return FeatureView(
        name=name,
        entities=[one for one in entities if one.name in view.entities],
        ttl=view.ttl,
        # With the key's column, so that Feast needn't ask the database for it.
        schema=[
            Field(name=field.name, dtype=field.dtype)
            for field in (*view.entity_columns, *view.features)
        ],
        source=PostgreSQLSource(
            name=f"{name}_rows",
            query=rows or f'SELECT * FROM "{Table.history_of(table)}"',
            timestamp_field="event_timestamp",
            created_timestamp_column="recorded_at",
        ),
        tags={**view.tags, **tags},
    )


def history_rows(use_case: UseCase, view: FeatureView) -> Composable:
    """What the view is made from, for a FROM clause: its table's history, or a query of it."""
    rows = view.batch_source.get_table_query_string()
    if rows.startswith("("):
        return subquery(rows)
    return identifier(use_case.name, rows.strip('"'))
