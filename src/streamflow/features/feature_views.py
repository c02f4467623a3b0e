"""The definitions of feature views in Feast's registry, as a run records them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamflow.training.served_model import FeatureSchema


@dataclass(frozen=True)
class FeatureViewDefinition:
    """A Feast feature view: where its rows are, which of its columns are features, their age."""

    entities: list[str]
    ttl_seconds: float | None
    source: str
    table: str
    timestamp_field: str
    created_timestamp_column: str
    field_mapping: dict[str, str]
    features: dict[str, str]


def feature_views(store: Any, features: FeatureSchema) -> dict[str, FeatureViewDefinition]:
    """The definitions in Feast's registry of the views that `features` come from."""
    found: dict[str, FeatureViewDefinition] = {}
    for name in features.views:
        view = store.get_feature_view(name)
        source = view.batch_source
        found[name] = FeatureViewDefinition(
            entities=list(view.entities),
            ttl_seconds=view.ttl.total_seconds() if view.ttl else None,
            source=source.name,
            table=source.get_table_query_string(),
            timestamp_field=source.timestamp_field,
            created_timestamp_column=source.created_timestamp_column,
            field_mapping=dict(source.field_mapping),
            features={field.name: str(field.dtype) for field in view.features},
        )
    return found
