"""The churn use case with a larger model: scikit-learn's own forest, with 300 trees."""

from __future__ import annotations

from dataclasses import replace

from churn import use_case as churn
from streamflow.use_case import Estimator


def forest(random_state: int) -> Estimator:
    """An unfitted forest."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=300, random_state=random_state, n_jobs=1)


use_case = replace(churn, models={"forest": forest}, default_model="forest")
