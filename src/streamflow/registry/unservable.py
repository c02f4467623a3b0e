"""The errors for a version that can't be served."""

from __future__ import annotations

from streamflow.errors import StreamFlowError, UnservableModel
from streamflow.registry.records import ModelVersion


def unservable(version: ModelVersion, reason: str) -> UnservableModel:
    """The error for a model that can't be used."""
    return UnservableModel(
        f"Version {version.version} of {version.name!r} can't be served: {reason}.",
        "Promote another version with `streamflow promote`, or `streamflow rollback`.",
    )


def being_tried(version: ModelVersion) -> UnservableModel:
    """The error while it isn't known yet whether the model can be served."""
    return UnservableModel(
        f"Version {version.version} of {version.name!r} is being tried before it serves.",
        "Wait for some seconds; GET /ready tells what came of it.",
    )


def write_failed(version: ModelVersion, reason: str) -> UnservableModel:
    """The error for files that can't be stored on this machine."""
    return UnservableModel(
        f"The files of {version.name!r} version {version.version} can't be kept on disk: {reason}.",
        "Give the API room to write below STREAMFLOW_HOME; it tries again by itself.",
    )


def package_missing(version: ModelVersion, package: str) -> UnservableModel:
    """The error for a model whose library isn't installed."""
    return UnservableModel(
        f"Version {version.version} of {version.name!r} can't be served here: it needs {package}, "
        "which isn't installed.",
        "With Docker Compose set STREAMFLOW_API_IMAGE=full in .env, then "
        f"`docker compose up --detach --wait api`; elsewhere install {package}. "
        "Or `streamflow rollback`.",
    )


def why_unservable(version: ModelVersion, error: Exception) -> StreamFlowError:
    """The error itself if it has a message for users; else the one to report in its place."""
    if isinstance(error, StreamFlowError):
        return error
    if isinstance(error, OSError) and error.strerror is not None:
        problem = write_failed(version, error.strerror)
    elif isinstance(error, ModuleNotFoundError) and error.name is not None:
        problem = package_missing(version, error.name)
    else:
        problem = unservable(version, f"{type(error).__name__}: {error}")
    problem.__cause__ = error
    return problem
