"""What a training was asked to do: the feature service's definition, the label, the estimator."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from streamflow.lineage.environment import Parameter, is_chance
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import UseCase


@dataclass(frozen=True)
class View:
    """A Feast feature view: where its rows are, which of its columns are features, their age."""

    entities: list[str]
    ttl_seconds: float | None
    source: str
    table: str
    timestamp_field: str
    created_timestamp_column: str
    field_mapping: dict[str, str]
    features: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """The label: where it's found, and how long after the as_of it's known."""

    table: str
    column: str
    horizon_seconds: float


@dataclass(frozen=True)
class Configuration:
    """`parameters` are the estimator's, but for those of randomness.

    A parameter that is an object itself is given by its class; its own parameters are there too.
    """

    use_case: str
    entity_table: str
    label: Answer
    feature_schema: FeatureSchema
    feature_views: dict[str, View]
    model: str
    estimator: str
    parameters: dict[str, Parameter]
    validation_share: float


def configuration(
    use_case: UseCase,
    features: FeatureSchema,
    feature_views: dict[str, View],
    model: str,
    estimator: Any,
) -> Configuration:
    """What `use_case` asks for today; `features` and their views are as Feast has them."""
    label = use_case.label
    return Configuration(
        use_case=use_case.name,
        entity_table=use_case.entity_table,
        label=Answer(label.table, label.column, label.horizon.total_seconds()),
        feature_schema=features,
        feature_views=feature_views,
        model=model,
        estimator=_class(estimator),
        parameters={
            name: value for name, value in parameters(estimator).items() if not is_chance(name)
        },
        validation_share=use_case.validation_share,
    )


def feature_views(store: Any, features: FeatureSchema) -> dict[str, View]:
    """The definitions in Feast's registry of the views that `features` come from."""
    found: dict[str, View] = {}
    for name in features.views:
        view = store.get_feature_view(name)
        source = view.batch_source
        found[name] = View(
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


def parameters(estimator: Any) -> dict[str, Parameter]:
    """The estimator's parameters, those of its parts among them, as JSON can hold them."""
    return {name: _plain(value) for name, value in sorted(estimator.get_params().items())}


def _plain(value: Any) -> Parameter:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        return _class(value)


def _class(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
