"""The types that a feature may have, by their names in a model, in Feast and in Python."""

from __future__ import annotations

from collections.abc import Mapping

from streamflow.training.dataset import FeatureValue

# A model's type by Feast's field type.
FEATURE_TYPES = {"Int64": "INT64", "Float64": "FLOAT64", "Bool": "BOOL", "String": "STRING"}

# Feast's value type by the model's type.
VALUE_TYPES = {"INT64": "INT64", "FLOAT64": "DOUBLE", "BOOL": "BOOL", "STRING": "STRING"}

_PYTHON_TYPES: Mapping[str, type[int] | type[float] | type[bool] | type[str]] = {
    "INT64": int,
    "FLOAT64": float,
    "BOOL": bool,
    "STRING": str,
}


def typed(kind: str, value: FeatureValue) -> FeatureValue:
    """The value as the Python type of a feature of the type `kind`; None stays None."""
    return None if value is None else _PYTHON_TYPES[kind](value)
