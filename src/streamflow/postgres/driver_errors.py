"""Errors of PostgreSQL's drivers as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg

from streamflow.errors import DatabaseUnavailable, InvalidSettings, NotPermitted

RowT = TypeVar("RowT")
# Raised by `streamflow.history_elsewhere`.
_HISTORY_ELSEWHERE = "SF001"


@contextmanager
def errors_translated(connection: psycopg.Connection[RowT]) -> Iterator[None]:
    """Raise an error of psycopg in the block as DatabaseUnavailable or NotPermitted, and as
    InvalidSettings where rows are read that are in Apache Iceberg."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise database_unavailable(error) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotPermitted(
            f"The database's user {connection.info.user!r} may not do this: "
            f"{error.diag.message_primary}.",
            "Connect as a user that may: STREAMFLOW_DATABASE_URL. docs/operations.md says who may.",
        ) from error
    except psycopg.Error as error:
        if error.sqlstate == _HISTORY_ELSEWHERE:
            raise history_elsewhere(str(error.diag.message_primary)) from error
        raise


def history_elsewhere(message: str) -> InvalidSettings:
    """The error of who reads rows of history in PostgreSQL that aren't there."""
    return InvalidSettings(
        f"PostgreSQL was asked for rows of history that it doesn't have: {message}.",
        "Set STREAMFLOW_HISTORY to that place and STREAMFLOW_ENGINE=duckdb. With both set, this "
        "command can't read such a history yet: docs/history.md lists those that can.",
    )


@contextmanager
def statements_refused() -> Iterator[None]:
    """Raise an error of psycopg in the block as ValueError, with the server's message."""
    try:
        yield
    except psycopg.Error as error:
        raise ValueError(str(error).strip().partition("\n")[0]) from error


def database_unavailable(error: BaseException) -> DatabaseUnavailable:
    """Our error for an OperationalError of psycopg or psycopg2, by its SQLSTATE."""
    message = str(error).strip().partition("\n")[0].rstrip(".")
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state is None or state.startswith(("08", "57P")):
        return DatabaseUnavailable(
            f"PostgreSQL went away: {message}.", "Start it again and run the same command."
        )
    return DatabaseUnavailable(
        f"PostgreSQL can't do what was asked: {message}.",
        "Look into its log, then run the same command again.",
    )


def driver_error(error: BaseException | None) -> BaseException | None:
    """The OperationalError of psycopg or psycopg2 (MLflow's driver) that caused `error`, or None.

    It is the last one in the chain of causes.
    """
    found = None
    while error is not None:
        kinds = [(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__]
        if {("psycopg", "OperationalError"), ("psycopg2", "OperationalError")} & {*kinds}:
            found = error
        error = error.__cause__ or error.__context__
    return found
