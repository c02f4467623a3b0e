"""The estimators to choose from, unfitted, and the bar that a version has to clear.

The defaults suit some thousand subscribers. None weighs the classes: the retention team reads the
scores as probabilities, and a weight would shift them all. All run on one thread, so that a sum has
one order and a refit gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

ACCEPTANCE: Mapping[str, float] = {"auc": 0.70}


def random_forest(random_state: int) -> Any:
    """A forest whose leaves hold at least 15 subscribers: a leaf's share of churners is a rate."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        n_estimators=200, min_samples_leaf=15, random_state=random_state, n_jobs=1
    )


def logistic_regression(random_state: int) -> Any:
    """Standardised columns, because the penalty on the weights depends on the columns' units."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    return Pipeline(
        [
            ("scale", StandardScaler()),
            ("classify", LogisticRegression(max_iter=1000, random_state=random_state)),
        ]
    )


def lightgbm(random_state: int) -> Any:
    """Many small trees that each learn little."""
    from lightgbm import LGBMClassifier

    return LGBMClassifier(
        n_estimators=250,
        learning_rate=0.03,
        num_leaves=6,
        min_child_samples=40,
        subsample=0.8,
        subsample_freq=1,
        colsample_bytree=0.6,
        importance_type="gain",
        random_state=random_state,
        n_jobs=1,
        # Left to itself, LightGBM times two ways of building histograms and takes the faster one.
        force_row_wise=True,
        deterministic=True,
        verbose=-1,
    )


def xgboost(random_state: int) -> Any:
    """Many small trees that each learn little."""
    from xgboost import XGBClassifier

    return XGBClassifier(
        n_estimators=250,
        learning_rate=0.04,
        max_depth=3,
        min_child_weight=10,
        subsample=0.8,
        colsample_bytree=0.6,
        tree_method="hist",
        importance_type="total_gain",
        random_state=random_state,
        n_jobs=1,
    )


MODELS: Mapping[str, Callable[[int], Any]] = {
    "random_forest": random_forest,
    "logistic_regression": logistic_regression,
    "lightgbm": lightgbm,
    "xgboost": xgboost,
}
