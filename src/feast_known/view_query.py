"""A feature view in the point-in-time join of an offline store that writes its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ViewQuery:
    """A feature view in the join.

    `keys` and `features` have by their names in the result the columns of `source`, a table or a
    query in brackets. A `ttl_seconds` of 0 joins rows of any age.
    """

    source: str
    keys: Mapping[str, str]
    features: Mapping[str, str]
    event_timestamp: str
    created_timestamp: str | None
    ttl_seconds: int


def view_query(context: Any, full_feature_names: bool) -> ViewQuery:
    """What Feast's context of a query (`get_feature_view_query_context`) says of a view.

    With `full_feature_names`, features have the view's name before their own.
    """
    selections = zip(context.entities, context.entity_selections, strict=True)
    prefix = f"{context.name}__" if full_feature_names else ""
    return ViewQuery(
        source=context.table_subquery,
        keys={key: text.removesuffix(f" AS {key}") for key, text in selections},
        features={
            prefix + context.field_mapping.get(column, column): column
            for column in context.features
        },
        event_timestamp=context.timestamp_field,
        created_timestamp=context.created_timestamp_column or None,
        ttl_seconds=context.ttl,
    )
