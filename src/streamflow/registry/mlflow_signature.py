"""What MLflow is told of a model's columns."""

from __future__ import annotations

from typing import Any

from streamflow.training.served_model import FeatureSchema


def signature(schema: FeatureSchema) -> Any:
    """The columns that MLflow holds callers to.

    Where a null is a value, MLflow's own types would refuse the column or turn it into another, so
    anything goes and the model's encoding decides.
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
        ColSpec(AnyType() if feature.nullable else types[feature.type], feature.name)
        for feature in schema.features
    ]
    outputs = [ColSpec(DataType.long, "prediction"), ColSpec(DataType.double, "probability")]
    return ModelSignature(Schema(inputs), Schema(outputs))
