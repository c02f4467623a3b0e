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
from streamflow.use_case.events import Count, DaysSince, Distinct, Events, Mean, Sum
from streamflow.use_case.gates import Gates
from streamflow.use_case.label import Label
from streamflow.use_case.monitoring import Monitoring
from streamflow.use_case.on_columns import OnColumns, inner, on_columns
from streamflow.use_case.phrases import Phrase
from streamflow.use_case.retraining import Retraining
from streamflow.use_case.search_space import OneOf, Range, SearchSpace
from streamflow.use_case.value import Value

__all__ = [
    "Absent",
    "Count",
    "Csv",
    "DaysSince",
    "Distinct",
    "Estimator",
    "EstimatorBuilder",
    "Events",
    "Gates",
    "Generation",
    "Label",
    "Mean",
    "Monitoring",
    "OnColumns",
    "OneOf",
    "Phrase",
    "Range",
    "Retraining",
    "SearchSpace",
    "Sum",
    "Table",
    "Unseen",
    "UseCase",
    "Value",
    "events",
    "findings",
    "gates",
    "inner",
    "label",
    "module",
    "monitoring",
    "on_columns",
    "phrases",
    "retraining",
    "risk_bands",
    "search_space",
    "value",
]
