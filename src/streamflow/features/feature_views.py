"""The definitions of feature views in Feast's registry, in the form in which a run records them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    from feast import FeatureStore


@dataclass(frozen=True)
class FeatureViewDefinition:
    """A Feast feature view: its source, its features with their types, and their allowed age."""

    entities: list[str]
    ttl_seconds: float | None
    source: str
    table: str
    timestamp_field: str
    created_timestamp_column: str
    field_mapping: dict[str, str]
    features: dict[str, str]

    @property
    def ttl(self) -> timedelta | None:
        """The allowed age; None if any is."""
        return None if self.ttl_seconds is None else timedelta(seconds=self.ttl_seconds)


def feature_views(store: FeatureStore, features: FeatureSchema) -> dict[str, FeatureViewDefinition]:
    """The definitions of the views that `features` come from, by name."""
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
