"""From a training set to a fitted estimator, its figures and its served form; no service.

May import: top modules.
"""

__all__ = [
    "candidate",
    "canonical",
    "dataset",
    "dataset_table",
    "estimator_findings",
    "evaluation",
    "feature_importance",
    "judged_rows",
    "plots",
    "served_model",
    "training_set_warnings",
]
