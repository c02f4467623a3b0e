"""Which columns a pipeline names, before it is fitted."""

from __future__ import annotations

from typing import Any

from streamflow.errors import UntrainableData
from streamflow.training.served_model import FeatureSchema
from streamflow.use_case import inner
from streamflow.use_case.module import nearest


def named_columns(estimator: object) -> list[tuple[str, str]]:
    """The columns that ColumnTransformers of an estimator name, each after its step's name."""
    whole: Any = inner(estimator)
    parts = [whole, *getattr(whole, "get_params", dict)().values()]
    found: dict[tuple[str, str], None] = {}
    for part in parts:
        if type(part).__name__ == "ColumnTransformer":
            for name, _, chosen in part.transformers:
                for column in [chosen] if isinstance(chosen, str) else _texts(chosen):
                    found[f"ColumnTransformer step {name!r}", column] = None
    return list(found)


def _texts(chosen: Any) -> list[str]:
    if callable(chosen):
        return []
    if isinstance(chosen, slice):
        return [one for one in (chosen.start, chosen.stop) if isinstance(one, str)]
    return [str(one) for one in chosen if isinstance(one, str)]


def require_columns(estimator: object, schema: FeatureSchema) -> None:
    """Raises UntrainableData if the estimator names a column that is no feature."""
    columns = [feature.name for feature in schema.features]
    for place, column in named_columns(estimator):
        if column not in columns:
            raise UntrainableData(
                f"The {place} names the column {column!r}; the columns are the features "
                f"{', '.join(columns)}.",
                f"Write {nearest(column, columns)!r} in the use case's model; `streamflow check` "
                "tells all that is wrong.",
            )
