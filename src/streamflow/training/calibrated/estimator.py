"""An estimator with corrected probabilities around the use case's own, and the two parts of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from streamflow.errors import UntrainableData
from streamflow.training.columns.estimator import ColumnsEstimator
from streamflow.training.rows.entities import numbered
from streamflow.training.served_model import Calibration, Labels
from streamflow.training.values_seen import RowNumbers
from streamflow.use_case import Estimator

CalibrationMethod = Literal["sigmoid", "isotonic"]
Fold = tuple[RowNumbers, RowNumbers]

FOLDS = 5


class TooFewToCalibrate(UntrainableData):
    """The rows to train on can't be divided into folds that have both labels."""


def calibrated(estimator: Estimator, method: CalibrationMethod, folds: Sequence[Fold]) -> Estimator:
    """The estimator (unfitted) whose probabilities will be corrected by what `folds` show."""
    from sklearn.calibration import CalibratedClassifierCV

    def around(one: Any) -> Any:
        return CalibratedClassifierCV(one, method=method, cv=list(folds), ensemble=False)

    if isinstance(estimator, ColumnsEstimator):
        return ColumnsEstimator(around(estimator.inner), estimator.schema)
    made: Estimator = around(estimator)
    return made


def uncalibrated(estimator: Estimator) -> tuple[Estimator, Calibration]:
    """What `calibrated` has made, fitted: the model without the correction, and the correction."""
    outer: Any = estimator.inner if isinstance(estimator, ColumnsEstimator) else estimator
    (pair,) = outer.calibrated_classifiers_
    (fitted,) = pair.calibrators
    # As CalibratedClassifierCV chooses. What has a decision function here has log-odds there; the
    # proof of the served form finds one that hasn't.
    of: Any = "log-odds" if hasattr(pair.estimator, "decision_function") else "probability"
    if outer.method == "sigmoid":
        correction = Calibration("sigmoid", of, -float(fitted.a_), -float(fitted.b_))
    else:
        correction = Calibration(
            "isotonic",
            of,
            scores=tuple(np.asarray(fitted.X_thresholds_, np.float64).tolist()),
            probabilities=tuple(np.asarray(fitted.y_thresholds_, np.float64).tolist()),
        )
    if isinstance(estimator, ColumnsEstimator):
        return ColumnsEstimator(pair.estimator, estimator.schema), correction
    return pair.estimator, correction


def fold_count(estimator: Estimator) -> int:
    """On how many folds what `calibrated` has made is corrected."""
    outer: Any = estimator.inner if isinstance(estimator, ColumnsEstimator) else estimator
    return len(outer.cv)


def calibration_folds(entities: Sequence[str], labels: Labels, random_state: int) -> list[Fold]:
    """Parts of the training rows, each given by its entity and its label (0 or 1): the rows that a
    model is fitted to, and those that it hasn't seen, of no entity that it has.

    Raises TooFewToCalibrate if there are too few of one label.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    parts = min(FOLDS, int(np.bincount(labels, minlength=2).min()))
    count, groups = numbered(entities)
    found: list[Fold] = []
    if parts > 1:
        rows = np.zeros(len(labels))
        how = {"n_splits": parts, "shuffle": True, "random_state": random_state}
        if count == len(labels):
            found = list(StratifiedKFold(**how).split(rows, labels))
        else:
            found = list(StratifiedGroupKFold(**how).split(rows, labels, groups))
    if not found or any(len(np.unique(labels[training])) < 2 for training, _ in found):
        raise TooFewToCalibrate(
            f"The {len(labels):,} rows to train on can't be divided to calibrate on: there are too "
            "few of one label.",
            "Train without --calibrate, or take in more months with `--months`.",
        )
    return found
