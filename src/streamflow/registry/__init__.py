"""MLflow: runs, versions and stages; model files by their hash, and their trial.

May import: training, postgres, top modules.
"""

__all__ = [
    "evaluations",
    "history_head",
    "mlflow_registry",
    "mlflow_rest",
    "model_cache",
    "production",
    "records",
    "run_files",
    "stages",
    "trial",
    "trial_process",
    "unservable",
]
