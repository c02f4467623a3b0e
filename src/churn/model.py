"""The estimators by name, unfitted, and what a version needs for Production.

The parameters suit some thousand subscribers. None weights the classes: the retention team reads
the scores as probabilities, and weights would shift them. All run on one thread, so that sums have
a fixed order and a refit gives the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamflow.use_case import Estimator, EstimatorBuilder, Gates, OneOf, Range, SearchSpace

ACCEPTANCE: Mapping[str, float] = {"auc": 0.70}
# Nobody is to be served worse for the average's sake; none of these columns is a feature.
GATES = Gates(segments=("subscriptions.contract_type", "users.user_is_senior"))


def random_forest(random_state: int) -> Estimator:
    """A forest whose leaves hold at least 15 subscribers: a leaf's share of churners is a rate."""
    from sklearn.ensemble import RandomForestClassifier

    estimator: Estimator = RandomForestClassifier(
        n_estimators=200, min_samples_leaf=15, random_state=random_state, n_jobs=1
    )
    return estimator


def logistic_regression(random_state: int) -> Estimator:
    """Standardised columns, because the penalty on the weights depends on the columns' units."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    estimator: Estimator = Pipeline(
        [
            ("scale", StandardScaler()),
            ("classify", LogisticRegression(max_iter=1000, random_state=random_state)),
        ]
    )
    return estimator


def lightgbm(random_state: int) -> Estimator:
    """Many small trees with a low learning rate."""
    from lightgbm import LGBMClassifier

    estimator: Estimator = LGBMClassifier(
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
        # Otherwise LightGBM measures two ways of building histograms and takes the faster one.
        force_row_wise=True,
        deterministic=True,
        verbose=-1,
    )
    return estimator


def xgboost(random_state: int) -> Estimator:
    """Many small trees with a low learning rate."""
    from xgboost import XGBClassifier

    estimator: Estimator = XGBClassifier(
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
    return estimator


MODELS: Mapping[str, EstimatorBuilder] = {
    "random_forest": random_forest,
    "logistic_regression": logistic_regression,
    "lightgbm": lightgbm,
    "xgboost": xgboost,
}

# What `train --search` goes through. Small trees and strong penalties: of some thousand subscribers
# each feature tells a little.
SEARCH: Mapping[str, SearchSpace] = {
    "random_forest": {
        "min_samples_leaf": Range(5, 60, log=True),
        "max_features": OneOf(("sqrt", 0.2, 0.5)),
    },
    "logistic_regression": {"classify__C": Range(0.001, 10.0, log=True)},
    "lightgbm": {
        "n_estimators": Range(100, 600),
        "learning_rate": Range(0.01, 0.1, log=True),
        "num_leaves": Range(2, 8),
        "min_child_samples": Range(20, 120, log=True),
        "reg_lambda": Range(0.01, 100.0, log=True),
    },
    "xgboost": {
        "n_estimators": Range(100, 600),
        "learning_rate": Range(0.01, 0.1, log=True),
        "max_depth": Range(1, 3),
        "min_child_weight": Range(5, 60, log=True),
        "reg_lambda": Range(0.1, 100.0, log=True),
    },
}
