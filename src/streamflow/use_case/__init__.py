"""The contract between StreamFlow and a use case; finding it, and what is wrong with it.

May import: errors, progress.
"""

from streamflow.use_case.contract import (
    Absent,
    Estimator,
    EstimatorBuilder,
    Generation,
    Table,
    Unseen,
    UseCase,
)
from streamflow.use_case.csv_form import Csv
from streamflow.use_case.gates import Gates
from streamflow.use_case.label import Label
from streamflow.use_case.monitoring import Monitoring
from streamflow.use_case.phrases import Phrase
from streamflow.use_case.retraining import Retraining
from streamflow.use_case.search_space import OneOf, Range, SearchSpace
from streamflow.use_case.value import Value

__all__ = [
    "Absent",
    "Csv",
    "Estimator",
    "EstimatorBuilder",
    "Gates",
    "Generation",
    "Label",
    "Monitoring",
    "OneOf",
    "Phrase",
    "Range",
    "Retraining",
    "SearchSpace",
    "Table",
    "Unseen",
    "UseCase",
    "Value",
    "findings",
    "gates",
    "label",
    "module",
    "monitoring",
    "phrases",
    "retraining",
    "risk_bands",
    "search_space",
    "value",
]
