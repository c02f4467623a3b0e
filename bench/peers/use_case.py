"""The churn use case with a larger model: scikit-learn's own forest, with 300 trees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from churn import use_case as churn


def forest(random_state: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=300, random_state=random_state, n_jobs=1)


use_case = replace(churn, models={"forest": forest}, default_model="forest")
