"""A training set's table and hash, made from the training set itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamflow.training import canonical
from streamflow.training.dataset import TrainingSet
from streamflow.training.dataset_table import LABEL
from streamflow.training.served_model import FeatureSchema


def table_of(training_set: TrainingSet) -> Any:
    """The entity, the features in the schema's order and the label, as typed columns."""
    schema = training_set.schema
    return canonical.table(
        [
            (schema.join_key, "STRING", training_set.entities),
            *((one.name, one.type, listed(training_set, one.name)) for one in schema.features),
            (LABEL, "BOOL", training_set.labels),
        ]
    )


def listed(training_set: TrainingSet, feature: str) -> list[Any]:
    """A Python value per row, None for null."""
    values = training_set.columns[feature]
    if not isinstance(values, np.ndarray):
        return list(values)
    kinds = {one.name: one.type for one in training_set.schema.features}
    read = {"BOOL": bool, "INT64": int, "FLOAT64": float}[kinds[feature]]
    return [None if np.isnan(value) else read(value) for value in values]


def data_hash(training_set: TrainingSet) -> str:
    """SHA-256 over the whole training set in canonical order and types."""
    return canonical.hashes(table_of(training_set))[0]


def encoded_names(schema: FeatureSchema) -> list[str]:
    """The names of `encode`'s columns: `monthly_fee`, `plan_stream_tv=null`, `net_service=DSL`."""
    names: list[str] = []
    for feature in schema.features:
        if feature.type == "STRING":
            names += [f"{feature.name}={category}" for category in feature.categories]
        else:
            names.append(feature.name)
        if feature.may_be_null:
            names.append(f"{feature.name}=null")
    return names
