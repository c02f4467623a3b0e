"""Which features a model relies on."""

from __future__ import annotations

import numpy as np

from streamflow.training.columns.estimator import ColumnsEstimator
from streamflow.training.fit import Fitted
from streamflow.training.served_model import Matrix, encoded_columns


def feature_importances(fitted: Fitted) -> dict[str, float]:
    """Each feature's share of what the model relies on, greatest first; the shares sum to 1.

    It's the model's own importances, or the size of its weights times their columns' standard
    deviations, or (if it has neither) the AUC lost when the feature's values are shuffled.
    """
    fitted = fitted.uncalibrated  # a correction changes no feature's part
    names = [feature.name for feature in fitted.schema.features]
    blocks = encoded_columns(fitted.schema)
    per_column = _column_importances(fitted)
    if per_column is not None:
        totals = [float(per_column[block].sum()) for block in blocks]
    else:
        totals = _permutation_importances(fitted, blocks)
    whole = sum(totals)
    shares = [total / whole if whole else 0.0 for total in totals]
    ranked = sorted(range(len(names)), key=lambda i: (-shares[i], i))
    return {names[i]: shares[i] for i in ranked}


def _column_importances(fitted: Fitted) -> Matrix | None:
    matrix = fitted.validation_matrix
    if isinstance(fitted.estimator, ColumnsEstimator):
        return None
    steps = [step for _, step in getattr(fitted.estimator, "steps", [])] or [fitted.estimator]
    for step in steps[:-1]:
        if step not in (None, "passthrough"):
            matrix = step.transform(matrix)
    columns = fitted.validation_matrix.shape[1]
    if hasattr(steps[-1], "feature_importances_"):
        importances = np.asarray(steps[-1].feature_importances_, dtype=np.float64)
    elif hasattr(steps[-1], "coef_"):
        importances = np.abs(np.ravel(steps[-1].coef_)) * np.std(matrix, axis=0)
    else:
        return None
    # Steps that select or derive columns leave nothing to sum per feature.
    return importances if importances.shape == (columns,) else None


def _permutation_importances(fitted: Fitted, blocks: list[slice], repeats: int = 5) -> list[float]:
    from sklearn.metrics import roc_auc_score

    def auc(matrix: Matrix) -> float:
        scores = fitted.estimator.predict_proba(matrix)[:, 1]
        return float(roc_auc_score(fitted.validation_labels, scores))

    random = np.random.default_rng(fitted.random_state)
    whole, losses = auc(fitted.validation_matrix), []
    for block in blocks:
        areas = []
        for _ in range(repeats):
            shuffled = fitted.validation_matrix.copy()
            shuffled[:, block] = shuffled[random.permutation(len(shuffled)), block]
            areas.append(auc(shuffled))
        losses.append(max(0.0, whole - float(np.mean(areas))))
    return losses
