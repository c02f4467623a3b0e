"""MLflow's client, set up for our use, and its errors as one of ours.

MLflow takes a second to import, so it is imported when a client is opened.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streamflow.errors import MlflowUnavailable, StreamFlowError

if TYPE_CHECKING:
    from mlflow import MlflowClient


def open_client(uri: str) -> MlflowClient:
    """A client of the MLflow server, or of the database, at `uri`. Raises MlflowUnavailable."""
    # A server that is down must be reported in seconds, not after minutes of retries.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Every error that MLflow logs with a traceback is also raised.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    with mlflow_errors():
        import mlflow

        if not uri.startswith("http"):
            from mlflow.store.db import utils

            utils.MAX_RETRY_COUNT = 4  # one second; MLflow's default takes a hundred
        return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Raise any error of MLflow in the block as MlflowUnavailable. Errors of ours stay, and so does
    the OSError of a full disk."""
    try:
        with warnings.catch_warnings():
            # MLflow deprecates stages; they are our contract on purpose.
            warnings.simplefilter("ignore")
            yield
    except StreamFlowError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        first_line = str(error).strip().split("\n")[0]
        raise MlflowUnavailable(
            f"MLflow doesn't do what was asked: {first_line}.",
            "See `streamflow status`; start it with `streamflow up`, or correct "
            "STREAMFLOW_MLFLOW_TRACKING_URI.",
        ) from error
