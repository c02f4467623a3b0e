"""The types that a feature may have, as Feast, PostgreSQL and Python name them."""

from __future__ import annotations

# A model's type for a feature, by the name of Feast's type, and Feast's value type for it.
FEATURE_TYPES = {"Int64": "INT64", "Float64": "FLOAT64", "Bool": "BOOL", "String": "STRING"}

VALUE_TYPES = {"INT64": "INT64", "FLOAT64": "DOUBLE", "BOOL": "BOOL", "STRING": "STRING"}
