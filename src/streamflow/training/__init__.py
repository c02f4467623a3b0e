"""From a training set to a fitted estimator, its figures and its served form; no service.

May import: top modules.
"""

__all__ = [
    "backtest",
    "backtest_conclusions",
    "calibrated",
    "candidate",
    "canonical",
    "dataset",
    "dataset_table",
    "estimator_findings",
    "evaluation",
    "feature_importance",
    "fit",
    "judged_rows",
    "judgement",
    "plots",
    "rows",
    "search",
    "served_model",
    "split",
    "statistics",
    "training_set_warnings",
]
