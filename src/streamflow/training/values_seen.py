"""Which values of each feature a model has learnt from, and which rows have others.

What training saw is what serving allows, so it travels with the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from streamflow.errors import UntrainableData
from streamflow.training.dataset import FeatureValues, TrainingSet
from streamflow.training.served_model import CodedTexts, FeatureSchema

MOST_CATEGORIES = 1000

RowNumbers = npt.NDArray[np.int64]


def with_values_seen(training_set: TrainingSet, rows: RowNumbers | None = None) -> FeatureSchema:
    """The training set's schema with which features are null in these `rows` (all, if None), and
    with the categories that its STRING features take there, sorted.

    Raises UntrainableData for a null where none may be and for more than 1,000 categories.
    """
    features = []
    for feature in training_set.schema.features:
        values = _of_rows(training_set.columns[feature.name], rows)
        nulls = int(np.count_nonzero(is_null(values)))
        months = ", ".join(map(str, training_set.months))
        if nulls and not feature.may_be_null:
            raise UntrainableData(
                f"Feature {feature.name!r} is null for {nulls:,} of {len(values):,} entities at "
                f"{months}, and its contract allows no null.",
                "Load the month's complete tables with `streamflow ingest`, "
                "or make the column nullable in its table's contract.",
            )
        feature = replace(feature, null_seen=nulls > 0)
        if feature.type == "STRING":
            categories = _categories(values)
            if len(categories) > MOST_CATEGORIES:
                raise UntrainableData(
                    f"Feature {feature.name!r} takes {len(categories):,} values at "
                    f"{months}; up to {MOST_CATEGORIES:,} can be learnt from.",
                    "Take it out of the feature service, or group its values in the feature view.",
                )
            feature = replace(feature, categories=tuple(sorted(categories)))
        features.append(feature)
    return replace(training_set.schema, features=tuple(features))


def rows_with_unseen_values(
    schema: FeatureSchema, training_set: TrainingSet, rows: RowNumbers
) -> RowNumbers:
    """Those of `rows` for which a model with `schema` has no prediction: a category or a null that
    it never saw, in a feature whose rule is "refuse"."""
    refused = np.zeros(len(rows), dtype=np.bool_)
    for feature in schema.features:
        values = _of_rows(training_set.columns[feature.name], rows)
        nulls = is_null(values)
        if not feature.takes_null:
            refused |= nulls
        if feature.type == "STRING" and feature.unseen == "refuse":
            refused |= ~nulls & _unknown(values, {*feature.categories})
    return rows[refused]


def is_null(values: FeatureValues) -> npt.NDArray[np.bool_]:
    """Per value whether it is None or NaN."""
    if isinstance(values, CodedTexts):
        return values.is_null
    if isinstance(values, np.ndarray) and values.dtype != object:
        return np.isnan(values)
    return np.fromiter((one is None or one != one for one in values), np.bool_, len(values))


def columns_of_rows(training_set: TrainingSet, rows: RowNumbers) -> dict[str, FeatureValues]:
    """The columns of the training set's features, in these rows alone (all are each column's)."""
    if len(rows) == len(training_set.labels):
        return dict(training_set.columns)
    names = (feature.name for feature in training_set.schema.features)
    return {name: _of_rows(training_set.columns[name], rows) for name in names}


def _of_rows(values: FeatureValues, rows: RowNumbers | None) -> FeatureValues:
    if rows is None:
        return values
    if isinstance(values, CodedTexts):
        return values.of_rows(rows)
    if isinstance(values, np.ndarray):
        found: FeatureValues = values[rows]
        return found
    return [values[row] for row in rows.tolist()]


def _unknown(values: FeatureValues, known: set[str]) -> npt.NDArray[np.bool_]:
    """Per value whether it isn't `known`."""
    if isinstance(values, CodedTexts):
        unknown = np.array([*(one not in known for one in values.texts), True], np.bool_)
        return unknown[values.codes]
    return np.fromiter((one not in known for one in values), np.bool_, len(values))


def _categories(values: FeatureValues) -> set[str]:
    if isinstance(values, CodedTexts):
        return {text for _, text in values.values() if text is not None}
    texts: Iterable[object] = set(values) if isinstance(values, Sequence) else values.tolist()
    return {str(value) for value in texts if value is not None and value == value}
