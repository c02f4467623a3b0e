"""The use case churn for tests of many months: quick to train, with gates that let it through."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.promoting import LENIENT

from churn import use_case as churn
from streamflow.use_case import Retraining

use_case = replace(
    churn,
    default_model="logistic_regression",
    gates=replace(LENIENT, segments=churn.gates.segments),
    retraining=Retraining(cool_down=timedelta(days=80), fewest_new_labels=100),
)
