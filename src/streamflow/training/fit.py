"""Split and fit: from a training set to a fitted estimator.

Pure: no file, no network, no clock but the stopwatch around `fit`, no chance but `random_state`.
The same training set, estimator and random_state give the same bits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from streamflow.errors import UntrainableData
from streamflow.training.dataset import TrainingSet
from streamflow.training.served_model import FeatureSchema, Labels, Matrix, encode
from streamflow.use_case import Estimator, EstimatorBuilder

MOST_CATEGORIES = 1000

RowNumbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator, the rows that it was fitted on, and the rows that judge it.

    `schema` says what was seen. `training_rows` and `validation_rows` are positions in the training
    set; `validation_matrix` is (validation rows, encoded columns). `train_time_sec` is the only
    number here that another run does not repeat.
    """

    estimator: Estimator
    schema: FeatureSchema
    random_state: int
    training_rows: RowNumbers
    validation_rows: RowNumbers
    validation_matrix: Matrix
    validation_labels: Labels
    train_time_sec: float

    def predict(self) -> tuple[Labels, Matrix]:
        """The estimator's own labels and probabilities of 1, one per validation row."""
        labels = np.asarray(self.estimator.predict(self.validation_matrix), dtype=np.int64)
        probabilities = self.estimator.predict_proba(self.validation_matrix)[:, 1]
        return labels, np.asarray(probabilities, dtype=np.float64)


def fit(
    training_set: TrainingSet,
    build: EstimatorBuilder,
    random_state: int,
    validation_share: float = 0.25,
) -> Fitted:
    """Fit what `build` makes on all rows but a stratified `validation_share` of them.

    Raises UntrainableData if the training set is too small, has one class only, has a null where
    none may be, or a STRING feature with more than 1,000 values.
    """
    from sklearn.model_selection import train_test_split

    schema = with_values_seen(training_set)
    labels = np.asarray(training_set.labels, dtype=np.int64)
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2 or counts.min() * min(validation_share, 1 - validation_share) < 1:
        raise _too_small(training_set, int(labels.sum()))
    training_rows, validation_rows = train_test_split(
        np.arange(len(labels)),
        test_size=validation_share,
        stratify=labels,
        random_state=random_state,
    )
    matrix = encode(schema, training_set.columns)
    estimator = build(random_state)
    training_matrix, training_labels = matrix[training_rows], labels[training_rows]
    started = time.perf_counter()
    estimator.fit(training_matrix, training_labels)
    train_time_sec = time.perf_counter() - started
    return Fitted(
        estimator=estimator,
        schema=schema,
        random_state=random_state,
        training_rows=training_rows,
        validation_rows=validation_rows,
        validation_matrix=matrix[validation_rows],
        validation_labels=labels[validation_rows],
        train_time_sec=train_time_sec,
    )


def with_values_seen(training_set: TrainingSet) -> FeatureSchema:
    """The training set's schema with which features are null in it, and with the categories that
    its STRING features take, sorted.

    Raises UntrainableData for a null where none may be and for more than 1,000 categories.
    """
    features = []
    for feature in training_set.schema.features:
        values = training_set.columns[feature.name]
        nulls = sum(value is None or value != value for value in values)
        if nulls and not feature.may_be_null:
            raise UntrainableData(
                f"Feature {feature.name!r} is null for {nulls:,} of {len(values):,} entities at "
                f"{training_set.as_of}, and its contract allows no null.",
                "Load the month's complete tables with `streamflow ingest`, "
                "or make the column nullable in its table's contract.",
            )
        feature = replace(feature, null_seen=nulls > 0)
        if feature.type == "STRING":
            categories = {str(value) for value in values if value is not None and value == value}
            if len(categories) > MOST_CATEGORIES:
                raise UntrainableData(
                    f"Feature {feature.name!r} takes {len(categories):,} values at "
                    f"{training_set.as_of}; up to {MOST_CATEGORIES:,} can be learnt from.",
                    "Take it out of the feature service, or group its values in the feature view.",
                )
            feature = replace(feature, categories=tuple(sorted(categories)))
        features.append(feature)
    return replace(training_set.schema, features=tuple(features))


def _too_small(training_set: TrainingSet, positives: int) -> UntrainableData:
    rows = len(training_set.labels)
    return UntrainableData(
        f"The training set at {training_set.as_of} has {rows:,} rows, {positives:,} of them "
        f"with the label true and {rows - positives:,} with false: too few to learn and to judge.",
        "Choose an --as-of with more labels, or load them with `streamflow ingest`.",
    )
