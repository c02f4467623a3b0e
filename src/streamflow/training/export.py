"""From a fitted estimator to the folder that is served, and the proof that the two are equal.

Forests and single trees are written by `onnx.forest`, to the last bit; LightGBM and XGBoost in
their own text forms; anything else by skl2onnx, if it can. What can't be proved equal isn't served.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamflow.errors import ServedFormDiffers, UnservableModel
from streamflow.training.calibrated.estimator import uncalibrated
from streamflow.training.columns.estimator import ColumnsEstimator
from streamflow.training.columns.nulls import require_no_split_by_null
from streamflow.training.columns.outputs import Unproved
from streamflow.training.columns.served_columns import ServedColumns, served_columns
from streamflow.training.columns.steps import CAN
from streamflow.training.fit import Fitted
from streamflow.training.onnx.forest import onnx_forest
from streamflow.training.onnx.forest_float32 import is_exact, onnx_forest_in_float32
from streamflow.training.served_model import (
    CALIBRATION_FILE,
    COLUMNS_FILE,
    FORMS,
    SCHEMA_FILE,
    WITH_CALIBRATION,
    WITH_COLUMNS,
    load,
)
from streamflow.use_case import Estimator
from streamflow.use_case.findings import one_line

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeClassifier

TOLERANCE = 1e-5

NEXT = (
    "Choose another with `streamflow train --model`: scikit-learn's forests and trees, "
    "its linear models, LightGBM and XGBoost can be served."
)


@dataclass(frozen=True)
class Proof:
    """The served form against the estimator over `rows` validation rows.

    `largest_difference` is between probabilities, `label_flips` between each one's own labels.
    """

    rows: int
    label_flips: int
    largest_difference: float

    @property
    def equal(self) -> bool:
        """No label flips, and no probability is more than `TOLERANCE` off."""
        # A NaN is no more than the tolerance either, and mustn't pass.
        return self.label_flips == 0 and self.largest_difference <= TOLERANCE


def write(fitted: Fitted, folder: Path) -> None:
    """Write the served form of `fitted` into `folder`: the model and `feature_schema.json`.

    The same fit gives the same bytes. A model in another form is removed from the folder first.
    Raises UnservableModel for an estimator that has no form free of code.
    """
    estimator, width, stopped_by = fitted.estimator, fitted.validation_matrix.shape[1], ""
    folder.mkdir(parents=True, exist_ok=True)
    for form in (*FORMS, COLUMNS_FILE, CALIBRATION_FILE):
        (folder / form).unlink(missing_ok=True)
    folder_format = WITH_COLUMNS if isinstance(estimator, ColumnsEstimator) else 1
    if fitted.calibrate is not None:
        estimator, correction = uncalibrated(estimator)
        _put(folder / CALIBRATION_FILE, correction.to_json().encode())
        folder_format = WITH_CALIBRATION
    _put(folder / SCHEMA_FILE, fitted.schema.to_json(folder_format).encode())
    if isinstance(estimator, ColumnsEstimator):
        columns = _columns(fitted, estimator)
        _put(folder / COLUMNS_FILE, columns.graph)
        estimator, width, stopped_by = columns.rest, columns.width, columns.stopped_by
    name, attempts = _forms(estimator, width)
    for i, attempt in enumerate(attempts, start=1):
        try:
            _put(folder / name, attempt())
            if i == len(attempts) or compare(fitted, folder).equal:
                return
        except Exception as error:
            if i == len(attempts):
                why = f"{stopped_by}; {one_line(error)}" if stopped_by else one_line(error)
                raise UnservableModel(
                    f"{_named(fitted)} can't be written in a form that is free of code: {why}.",
                    NEXT,
                ) from error


def _columns(fitted: Fitted, estimator: ColumnsEstimator) -> ServedColumns:
    try:
        found = served_columns(estimator, fitted.validation_matrix)
        require_no_split_by_null(found.rest)
        return found
    except Unproved as error:
        raise UnservableModel(
            f"{_named(fitted)} can't be written in a form that is free of code, because of "
            f"{error}.",
            f"Take another step: {CAN}.",
        ) from error


def prove(fitted: Fitted, folder: Path) -> Proof:
    """Compare the model in `folder` with the estimator over the whole validation set.

    Raises ServedFormDiffers for any label flip, a probability more than 1e-5 off, or a model that
    can't be loaded at all.
    """
    try:
        proof = compare(fitted, folder)
    except Exception as error:
        raise ServedFormDiffers(
            f"The served form of {_named(fitted)} can't score: {one_line(error)}.", NEXT
        ) from error
    if not proof.equal:
        raise ServedFormDiffers(
            f"The served form of {_named(fitted)} differs from the estimator: "
            f"{proof.label_flips:,} of {proof.rows:,} labels flip, and probabilities are up to "
            f"{proof.largest_difference:.3g} apart (allowed: none, {TOLERANCE:g}).",
            NEXT,
        )
    return proof


def compare(fitted: Fitted, folder: Path) -> Proof:
    """The proof, whether the two are equal or not."""
    labels, probabilities = fitted.predict()
    served_labels, served_probabilities = load(folder).score(fitted.validation_matrix)
    return Proof(
        rows=len(labels),
        label_flips=int(np.sum(labels != served_labels)),
        largest_difference=float(np.max(np.abs(probabilities - served_probabilities))),
    )


def _forms(estimator: Any, columns: int) -> tuple[str, list[Callable[[], bytes]]]:
    """The served form's file name, and ways to make its bytes, to be tried in turn.

    The class of the estimator, which takes so many columns, decides.
    """
    libraries = {kind.__module__.partition(".")[0] for kind in type(estimator).__mro__}
    if "lightgbm" in libraries:
        return "model.lightgbm.txt", [lambda: estimator.booster_.model_to_string().encode()]
    if "xgboost" in libraries:
        return "model.xgboost.json", [lambda: bytes(estimator.get_booster().save_raw("json"))]
    if (trees := _trees(estimator)) is not None:
        form = onnx_forest_in_float32 if is_exact(trees) else onnx_forest
        return "model.onnx", [lambda: form(trees, columns)]
    # Linear models compute in float64; what has trees somewhere inside rounds to float32 first.
    return "model.onnx", [
        lambda: _skl2onnx(estimator, columns, "DoubleTensorType"),
        lambda: _skl2onnx(estimator, columns, "FloatTensorType"),
    ]


def _trees(estimator: Estimator) -> list[DecisionTreeClassifier] | None:
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    if isinstance(estimator, RandomForestClassifier | ExtraTreesClassifier):
        return list(estimator.estimators_)
    return [estimator] if isinstance(estimator, DecisionTreeClassifier) else None


def _skl2onnx(estimator: Estimator, columns: int, tensor_type: str) -> bytes:
    from skl2onnx import convert_sklearn
    from skl2onnx.common import data_types

    features = getattr(data_types, tensor_type)([None, columns])
    model = convert_sklearn(
        estimator,
        # Left out, the name is a random one.
        name=type(estimator).__name__,
        initial_types=[("features", features)],
        options={"zipmap": False},
    )
    # skl2onnx takes them from a set, whose order changes with Python's hash seed.
    opsets = sorted(model.opset_import, key=lambda opset: str(opset.domain))
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _put(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def _named(fitted: Fitted) -> str:
    estimator: Any = fitted.uncalibrated.estimator
    if isinstance(estimator, ColumnsEstimator):
        estimator = estimator.inner
    steps = getattr(estimator, "steps", [("", estimator)])
    return " with ".join(type(step).__name__ for _, step in steps)
