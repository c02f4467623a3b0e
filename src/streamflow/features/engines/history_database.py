"""The database as readers of history have it, by the engine of the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from streamflow.columnar.session import HistoryView, Session
from streamflow.features.engines.spark_history import SparkHistory
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.parquet.history_files import history_files
from streamflow.postgres.database import Database
from streamflow.settings import Settings
from streamflow.use_case import UseCase


@contextmanager
def history_database(
    settings: Settings, database: Database
) -> Iterator[tuple[Database, Session | None]]:
    """While the block runs: the database as all have it, and the one that whole months of history
    are read with, if that is another.

    Where history is in Apache Iceberg, both are a session of DuckDB that reads its tables; for the
    engines `duckdb` and `spark`, the second one is a session over its copy in the home. DuckDB is
    opened when it is first needed, and Spark at the first join.
    """
    session: Session
    if settings.history != "postgres":
        session = IcebergSession(database, settings.history, settings.engine_memory, settings.spill)
    elif settings.engine != "postgres":

        def histories(of: Database, use_case: str) -> Mapping[str, HistoryView]:
            return history_files(of, use_case, settings.home).tables

        arguments = database, histories, settings.engine_memory, settings.spill
        session = Session(*arguments)
        if settings.engine == "spark":
            session = SparkHistory(*arguments, settings.scratch, settings.spark_remote)
    else:
        yield database, None
        return
    try:
        yield session if isinstance(session, IcebergSession) else database, session
    finally:
        session.close()


def reading_database(settings: Settings, database: Database) -> Database:
    """The database with the rows of history, for readers of few of them."""
    if settings.history == "postgres":
        return database
    return IcebergSession(database, settings.history, settings.engine_memory, settings.spill)


def up_to_date(database: Database, use_case: UseCase) -> Database:
    """The database, in which history is read as it is committed now.

    Raises FeatureStoreUnavailable, DatabaseUnavailable.
    """
    if isinstance(database, Session):
        database.refresh(use_case.name)
    return database
