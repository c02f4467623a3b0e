"""The database as readers of history have it, by the engine of the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from streamflow.columnar.session import Histories, HistoryView, Session
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

    Where history is in Apache Iceberg, the first is a session of DuckDB that reads its tables, and
    the second is the same, or one that Spark joins by. Otherwise, for the engines `duckdb` and
    `spark`, the second one is a session over history's copy in the home. DuckDB is opened when it
    is first needed, and Spark at the first join.
    """
    if settings.history == "postgres" and settings.engine == "postgres":
        yield database, None
        return

    def copied(of: Database, use_case: str) -> Mapping[str, HistoryView]:
        return history_files(of, use_case, settings.home).tables

    histories: Histories = copied
    resources = settings.engine_memory, settings.spill
    with ExitStack() as sessions:
        session: Session | None = None
        if settings.history != "postgres":
            session = IcebergSession(database, settings.history, *resources)
            sessions.callback(session.close)
            database, histories = session, session.committed_tables
        if settings.engine == "spark":
            shared = settings.scratch, settings.spark_remote
            session = SparkHistory(database, histories, *resources, *shared)
            sessions.callback(session.close)
        elif session is None:
            session = Session(database, histories, *resources)
            sessions.callback(session.close)
        yield database, session


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
