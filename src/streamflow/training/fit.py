"""Split and fit: from a training set to a fitted estimator.

Pure: no file, no network, no clock but the stopwatch around `fit`, no chance but `random_state`.
The same training set, estimator and random_state give the same bits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from streamflow.training.calibrated.estimator import (
    CalibrationMethod,
    calibrated,
    calibration_folds,
    uncalibrated,
)
from streamflow.training.columns.estimator import with_columns
from streamflow.training.dataset import TrainingSet
from streamflow.training.rows.entities import entities
from streamflow.training.served_model import FeatureSchema, Labels, Matrix, encode
from streamflow.training.split import Split, Validation, split
from streamflow.training.values_seen import (
    RowNumbers,
    columns_of_rows,
    rows_with_unseen_values,
    with_values_seen,
)
from streamflow.use_case import Estimator, EstimatorBuilder, OnColumns


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator, the rows that it was fitted on, and the rows that judge it.

    `schema` says what was seen. `training_rows` and `validation_rows` are positions in the training
    set; `validation_matrix` is (validation rows, encoded columns). `gap_months` are in neither
    part. `unjudged_rows` counts validation rows for which the model has no prediction, because of
    a value that it never saw; they aren't among `validation_rows`. With `calibrate`, the estimator
    is CalibratedClassifierCV around the use case's. `train_time_sec` is the only number here that
    another run does not repeat.
    """

    estimator: Estimator
    schema: FeatureSchema
    random_state: int
    training_rows: RowNumbers
    validation_rows: RowNumbers
    validation_matrix: Matrix
    validation_labels: Labels
    train_time_sec: float
    gap_months: tuple[date, ...] = ()
    unjudged_rows: int = 0
    calibrate: CalibrationMethod | None = None

    @property
    def uncalibrated(self) -> Fitted:
        """The same model without the correction of its probabilities."""
        if self.calibrate is None:
            return self
        return replace(self, estimator=uncalibrated(self.estimator)[0], calibrate=None)

    def predict(self) -> tuple[Labels, Matrix]:
        """The estimator's own labels and probabilities of 1, one per validation row."""
        return self.predict_rows(self.validation_matrix)

    def predict_rows(self, matrix: Matrix) -> tuple[Labels, Matrix]:
        """The same of other rows, which `encode` has encoded by the schema."""
        labels = np.asarray(self.estimator.predict(matrix), dtype=np.int64)
        probabilities = self.estimator.predict_proba(matrix)[:, 1]
        return labels, np.asarray(probabilities, dtype=np.float64)


def fit(
    training_set: TrainingSet,
    build: EstimatorBuilder,
    random_state: int,
    validation: Validation | None = None,
    horizon: timedelta = timedelta(0),
    calibrate: CalibrationMethod | None = None,
) -> Fitted:
    """Fit what `build` makes on all rows but those that judge it; see `split`.

    `validation` is a random quarter of the rows if it is None; `horizon` is the label's. With
    `calibrate`, probabilities are corrected by what folds of the training rows show.
    Raises UntrainableData if the training set is too small, has one class only, has a null where
    none may be, or a STRING feature with more than 1,000 values.
    """
    validation = validation or Validation("random", 0.25)
    # Errors are of all rows. At random both parts are of the same months, and versions of old were
    # trained in this way: what any row has is taken as seen.
    schema = with_values_seen(training_set)
    parts = parts_of(training_set, validation, horizon, random_state)
    # A pipeline on columns raises for a text that its own encoders haven't seen.
    by_rows = validation.method != "random" or isinstance(build(random_state), OnColumns)
    if by_rows:
        schema = with_values_seen(training_set, parts.training_rows)
    unseen = rows_with_unseen_values(schema, training_set, parts.validation_rows)
    judging = np.setdiff1d(parts.validation_rows, unseen) if len(unseen) else parts.validation_rows
    parts = replace(parts, validation_rows=judging)
    return replace(
        _fitted(training_set, schema, build, random_state, parts, calibrate),
        gap_months=parts.gap_months,
        unjudged_rows=len(unseen),
    )


def parts_of(
    training_set: TrainingSet, validation: Validation, horizon: timedelta, random_state: int
) -> Split:
    """The rows to train on and those to judge by; see `split`. Raises UntrainableData."""
    labels = training_set.label_numbers
    return split(
        validation, training_set.entities, training_set.as_ofs, labels, horizon, random_state
    )


def refit(judged: Fitted, training_set: TrainingSet, build: EstimatorBuilder) -> Fitted:
    """What `judged` would be if it had been fitted on all rows of the training set.

    It has seen its validation rows, so they can't judge it: the figures are those of `judged`.
    """
    every_row = np.arange(len(training_set.labels))
    parts = Split(every_row, judged.validation_rows)
    schema = with_values_seen(training_set)
    return _fitted(training_set, schema, build, judged.random_state, parts, judged.calibrate)


def _fitted(
    training_set: TrainingSet,
    schema: FeatureSchema,
    build: EstimatorBuilder,
    random_state: int,
    parts: Split,
    calibrate: CalibrationMethod | None,
) -> Fitted:
    """Fit on the training rows of `parts`; only the rows of either part are encoded."""
    rows = np.union1d(parts.training_rows, parts.validation_rows)
    labels = training_set.label_numbers
    matrix = encode(schema, columns_of_rows(training_set, rows))
    training = np.searchsorted(rows, parts.training_rows)
    estimator = with_columns(build(random_state), schema)
    training_matrix, training_labels = matrix[training], labels[parts.training_rows]
    if calibrate is not None:
        names = entities(training_set.entities).of_rows(parts.training_rows)
        folds = calibration_folds(names, training_labels, random_state)
        estimator = calibrated(estimator, calibrate, folds)
    started = time.perf_counter()
    estimator.fit(training_matrix, training_labels)
    train_time_sec = time.perf_counter() - started
    return Fitted(
        estimator=estimator,
        schema=schema,
        random_state=random_state,
        training_rows=parts.training_rows,
        validation_rows=parts.validation_rows,
        validation_matrix=matrix[np.searchsorted(rows, parts.validation_rows)],
        validation_labels=labels[parts.validation_rows],
        train_time_sec=train_time_sec,
        calibrate=calibrate,
    )
