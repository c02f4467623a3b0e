"""History goes from PostgreSQL to tables of Apache Iceberg."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamflow.errors import FeatureStoreUnavailable
from streamflow.history.parquet.history_files import remove_copies
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.progress import Progress, silent
from streamflow.settings import load_settings

if TYPE_CHECKING:
    from streamflow.history.iceberg.moving import MovedTable


@dataclass(frozen=True)
class Moved:
    """The histories that were moved to the location; none if they were there."""

    location: str
    tables: list[MovedTable]


def move_history(platform: Platform, location: str, progress: Progress = silent) -> Moved:
    """Move the use case's history; all tables or none. What was known when, and which ingestion
    said it, stays as it is.

    Raises InvalidSettings, FeatureStoreUnavailable if files can't be written, NotPermitted,
    DatabaseUnavailable; history stays where it is then.
    """
    from streamflow.history.iceberg.moving import move

    load_settings(home=platform.settings.home, history=location, engine="duckdb")
    use_case = platform.use_case
    with Database(platform.database.address) as database:
        try:
            tables = move(database, use_case.name, use_case.join_key, location, progress)
        except OSError as error:
            raise FeatureStoreUnavailable(
                f"History can't be written to {location}: {error.strerror or error}.",
                "Make room there, or let it be written, and run the same command again; history "
                "is where it was.",
            ) from error
    with suppress(OSError):  # what is left of the copy is read by nobody
        remove_copies(platform.settings.home)
    return Moved(location, tables)
