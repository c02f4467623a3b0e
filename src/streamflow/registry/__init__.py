"""MLflow: runs, versions, stages, and model files by their hash."""
