"""The churn use case with a larger model: scikit-learn's own forest, with 300 trees."""

from __future__ import annotations

from dataclasses import replace

from churn import use_case as churn
from streamflow.use_case import Estimator, Gates


def forest(random_state: int) -> Estimator:
    """An unfitted forest."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=300, random_state=random_state, n_jobs=1)


# What is measured is how fast it is; how good doesn't matter.
SPEED_ALONE = Gates(calibration_error=None, recreated="show")
use_case = replace(churn, models={"forest": forest}, default_model="forest", gates=SPEED_ALONE)
