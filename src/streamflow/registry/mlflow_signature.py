"""The signature of a model in MLflow: its columns and their types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamflow.training.served_model import FeatureSchema

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


def signature(schema: FeatureSchema) -> ModelSignature:
    """The input and output columns that MLflow checks for callers.

    A column that may be null may have any type: MLflow's own types refuse a null, or change the
    column's type. The model's encoding checks it instead.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    types = {
        "INT64": DataType.long,
        "FLOAT64": DataType.double,
        "BOOL": DataType.boolean,
        "STRING": DataType.string,
    }
    inputs = [
        ColSpec(AnyType() if feature.may_be_null else types[feature.type], feature.name)
        for feature in schema.features
    ]
    outputs = [ColSpec(DataType.long, "prediction"), ColSpec(DataType.double, "probability")]
    return ModelSignature(Schema(inputs), Schema(outputs))
