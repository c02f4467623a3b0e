"""Files that are added to a finished run in MLflow."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from streamflow.registry.mlflow_client import mlflow_errors, open_client


def keep_file(uri: str, run_id: str, file: Path, folder: str) -> bool:
    """Keep the file below `folder` of the run's artifacts; returns whether it wasn't there with
    these bytes. Raises MlflowUnavailable.
    """
    client, name = open_client(uri), str(PurePosixPath(folder) / file.name)
    with mlflow_errors(), TemporaryDirectory() as scratch:
        if name in {one.path for one in client.list_artifacts(run_id, folder)}:
            kept = Path(client.download_artifacts(run_id, name, scratch))
            if kept.read_bytes() == file.read_bytes():
                return False
        client.log_artifact(run_id, str(file), folder)
    return True
