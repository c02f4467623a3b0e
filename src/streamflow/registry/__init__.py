"""MLflow: runs, versions and stages; model files by their hash.

May import: training, postgres, top modules.
"""

__all__ = ["mlflow_registry", "mlflow_rest", "model_cache", "production", "records", "stages"]
