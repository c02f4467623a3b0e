"""The database as readers of history have it, by the engine of the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from streamflow.columnar.session import HistoryView, Session
from streamflow.history.iceberg.session import IcebergSession
from streamflow.history.parquet.history_files import history_files
from streamflow.postgres.database import Database
from streamflow.settings import Settings
from streamflow.use_case import UseCase


@contextmanager
def history_database(settings: Settings, database: Database) -> Iterator[Session | None]:
    """While the block runs: for the engine `duckdb` the database with history read from its copy in
    the home, or from the tables of Apache Iceberg that it is in, which are opened when they are
    first read; None for `postgres`."""
    if settings.engine == "postgres":
        yield None
        return

    if settings.history != "postgres":
        stored = IcebergSession(database, settings.history, settings.engine_memory, settings.spill)
        try:
            yield stored
        finally:
            stored.close()
        return

    def histories(of: Database, use_case: str) -> Mapping[str, HistoryView]:
        return history_files(of, use_case, settings.home).tables

    session = Session(database, histories, settings.engine_memory, settings.spill)
    try:
        yield session
    finally:
        session.close()


def up_to_date(database: Database, use_case: UseCase) -> Database:
    """The database, in which history is read as it is committed now.

    Raises FeatureStoreUnavailable, DatabaseUnavailable.
    """
    if isinstance(database, Session):
        database.refresh(use_case.name)
    return database
