"""A month that history doesn't have yet: its rows are copied into a table of their own, are checked
there, and become a partition of history. They are written once, and their key is made at once.

Within the ingestion's transaction; until it commits nobody else sees the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from streamflow.history.iceberg.session import IcebergSession
from streamflow.postgres.database import Database
from streamflow.postgres.queries import Composable, identifier
from streamflow.use_case import Table, UseCase


@dataclass(frozen=True)
class NewMonth:
    """The table of a month's rows, which its staging table shows; history has none of them yet."""

    use_case: str
    history: str
    key: str
    as_of: date
    name: str

    @property
    def table(self) -> Composable:
        """The qualified name of the table."""
        return identifier(self.use_case, self.name)

    @property
    def _values(self) -> dict[str, object]:
        return {"use_case": self.use_case, "history": self.history, "as_of": self.as_of}


def begin_month(
    database: Database, use_case: UseCase, table: Table, as_of: date, staging: Composable
) -> NewMonth | None:
    """Create the table of the month, as what `staging` shows.

    None if history may have rows of the as_of, or is in files.
    """
    if isinstance(database, IcebergSession):
        return None
    begun = database.row("begin_month", use_case=use_case.name, history=table.history, as_of=as_of)
    if begun["name"] is None:
        return None
    month = NewMonth(use_case.name, table.history, use_case.join_key, as_of, begun["name"])
    database.execute("show_as_staging", {"staging": staging, "month": month.table})
    return month


def key_month(database: Database, month: NewMonth, recorded_at: datetime) -> bool:
    """Give the rows their recorded_at (UTC), a key and statistics.

    False if a key is there twice, a row has none, or one is longer than an index takes; such a
    month can't be finished.
    """
    found = database.row("key_month", key=month.key, recorded_at=recorded_at, **month._values)
    has_key: bool = found["has_key"]
    return has_key


def finish_month(
    database: Database, month: NewMonth, staging: Composable, ingestion_id: int
) -> None:
    """Make the table a partition of history, as what the ingestion has added."""
    database.execute("hide_staging", {"staging": staging})
    database.execute("finish_month", ingestion_id=ingestion_id, **month._values)
